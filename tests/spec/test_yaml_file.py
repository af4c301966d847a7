"""Reading YAML: YAML 1.2 scalars, and everything that is refused."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import SpecError, UnknownNameError
from simulator.spec.yaml_file import (
    MAX_BYTES,
    find_data,
    list_data,
    parse_yaml,
    read_yaml,
)

SCALARS = {
    "400e9": 400e9,
    "1e9": 1e9,
    "1.5e-3": 1.5e-3,
    ".5": 0.5,
    "5.": 5.0,
    "-7": -7,
    "010": 10,
    "1:30": "1:30",
    "2024-01-31": "2024-01-31",
    "1_000": "1_000",
    "0x10": "0x10",
    "yes": "yes",
    "no": "no",
    "on": "on",
    "off": "off",
    "true": True,
    "False": False,
    "null": None,
    "~": None,
    '"12"': "12",
    "'true'": "true",
    "312 TFLOP/s": "312 TFLOP/s",
    ".inf": float("inf"),
    "-.inf": float("-inf"),
}


@pytest.mark.parametrize(("text", "value"), SCALARS.items())
def test_scalar(text, value):
    parsed = parse_yaml(f"[{text}]", "here")
    assert parsed == [value]
    assert type(parsed[0]) is type(value)


def test_nested():
    text = "a: {x: [1, {y: 2}], z: }\nb:\n  - - 3\n  - |\n    line\n8: nine\n"
    assert parse_yaml(text, "here") == {
        "a": {"x": [1, {"y": 2}], "z": None},
        "b": [[3], "line\n"],
        8: "nine",
    }


# JSON writes characters beyond U+FFFF as two escapes, which YAML reads as two characters; YAML
# takes DEL only as an escape, which JSON does not write.
TEXT = st.text(
    st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"], exclude_characters="\x7f"),
    max_size=20,
)
SCALAR = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | TEXT
VALUES = st.recursive(
    SCALAR | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(TEXT, VALUES, min_size=1, max_size=4))
def test_round_trip(value):
    # JSON is YAML; unlike PyYAML's own output it needs no 1.1 rules for plain scalars.
    assert parse_yaml(json.dumps(value), "here") == value


REFUSED = {
    "a: 1\nb: 2\na: 3\n": ("the key 'a' occurs twice", "line 3"),
    "a: {b: 1, b: 2}": ("the key 'b' occurs twice", "line 1"),
    "a: &x 1\nb: *x\n": ("anchor '&x' is not allowed", "line 1"),
    "a: 1\nb: *x\n": ("alias '*x' is not allowed", "line 2"),
    "a: !!python/object:os.system x": ("tag 'tag:yaml.org,2002:python/object:os.system'", "line 1"),
    "a: !!set {}": ("is not allowed", "line 1"),
    "a: 1\n---\nb: 2\n": ("more than one document", "line 2"),
    "? [1, 2]\n: 3\n": ("a key must be", "line 1"),
    "": ("the file is empty", "f.yaml"),
    "# nothing\n": ("the file is empty", "f.yaml"),
    "a: [1, 2\nb: 3\n": ("not valid YAML", "line"),
    "a: b: c": ("not valid YAML", "line 1"),
    "\ta: 1": ("not valid YAML", "line 1"),
    "a: " + "[" * 40 + "]" * 40: ("nested deeper than 32", "line 1"),
    "a: " + "[" * 400_000: ("nested deeper than 32", "line 1"),
    "a: " + "9" * 5000: ("has 5000 digits", "line 1"),
    "a: \x01": ("not valid YAML", "f.yaml"),
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:20])
def test_refused(tmp_path, text):
    problem, place = REFUSED[text]
    path = tmp_path / "f.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        read_yaml(path)
    assert problem in caught.value.problem
    assert str(path) in caught.value.where
    assert place in caught.value.where


def test_alias_bomb_is_refused_at_once():
    bomb = "a: &a [x, x]\n" + "\n".join(f"{n}: &{n} [*a, *a]" for n in "bcdefgh")
    start = time.perf_counter()
    with pytest.raises(SpecError, match="anchor"):
        parse_yaml(bomb, "here")
    assert time.perf_counter() - start < 1.0  # expanding it would take 2**8 lists, then memory


def test_no_regular_text_file(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"a: \x00")
    (tmp_path / "latin.yaml").write_bytes("a: é".encode("latin-1"))
    (tmp_path / "large.yaml").write_text("a: " + "x" * MAX_BYTES)
    for name, problem in (
        ("binary.yaml", "is a binary file"),
        ("latin.yaml", "is not UTF-8 text"),
        ("large.yaml", "is larger than 1,000,000 bytes"),
        (".", "is a directory"),
    ):
        with pytest.raises(SpecError, match=problem):
            read_yaml(tmp_path / name)


def test_missing_file_suggests_its_neighbours(tmp_path):
    (tmp_path / "gpt3-175b.yaml").write_text("a: 1")
    with pytest.raises(SpecError) as caught:
        read_yaml(tmp_path / "gpt3-157b.yaml")
    assert caught.value.hint == "did you mean gpt3-175b.yaml?"
    with pytest.raises(SpecError, match="there is no file"):
        read_yaml(tmp_path / "nowhere" / "x.yaml")


def test_an_endless_device_is_read_no_further_than_the_limit():
    with pytest.raises(SpecError, match=r"is larger than|there is no file"):
        read_yaml(Path("/dev/zero"))


def test_byte_order_mark(tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_yaml(tmp_path / "x.yaml") == {"a": 1}


def test_find_data(tmp_path):
    assert find_data("clusters", "Selene").name == "selene.yaml"
    assert find_data("accelerators", "A100_SXM4_80GB").stem == "a100-sxm4-80gb"
    for name in ("selene", "mine"):
        (tmp_path / f"{name}.yaml").write_text("x: 1")
    assert find_data("clusters", "mine", (tmp_path,)).parent == tmp_path
    # A shipped name stays the shipped file: the user's may extend it under the same name.
    assert find_data("clusters", "selene", (tmp_path,)).parent != tmp_path
    with pytest.raises(UnknownNameError, match="unknown cluster 'selen'"):
        find_data("clusters", "selen")
    assert "selene" in list_data("clusters")
