from __future__ import annotations

import pytest

from simulator.errors import SpecError
from simulator.report.fields import Fields

FIELDS = Fields.of(
    {"a": {"x": 1, "y": 2.5}, "list": [1, 2.0], "rows": [{"t": "v"}], "yes": True}, "doc"
)


def test_values_of_every_kind():
    assert FIELDS.child("a").as_numbers() == {"x": 1.0, "y": 2.5}
    assert FIELDS.child("a").integer("x") == 1
    assert FIELDS.numbers("list") == (1.0, 2.0)
    assert [row.as_texts() for row in FIELDS.children("rows")] == [{"t": "v"}]
    assert FIELDS.flag("yes") is True


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda: FIELDS["b"], "the key 'b' is missing\n  at doc"),
        (lambda: FIELDS.child("list"), "is not an object\n  at doc.list"),
        (lambda: FIELDS.numbers("rows"), "is not a number\n  at doc.rows[0]"),
        (lambda: list(FIELDS.children("list")), "is not an object\n  at doc.list[0]"),
        (lambda: FIELDS.integer("yes"), "is not a whole number\n  at doc.yes"),
        (lambda: FIELDS.child("a").text("x"), "is not a string\n  at doc.a.x"),
        (lambda: Fields.of([], "doc"), "'[]' is not an object\n  at doc"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(read, message: str):
    with pytest.raises(SpecError) as caught:
        read()
    assert message in str(caught.value)
