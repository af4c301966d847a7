from pathlib import Path

import pytest

from simulator.errors import SpecError
from simulator.published.document import Page
from simulator.published.pages import FORMS, page_renderer


@pytest.mark.parametrize("suffix", FORMS)
def test_the_suffix_chooses_the_form(suffix: str) -> None:
    assert "mine" in page_renderer(Path(f"page{suffix}"))(Page("mine", (), ()))


def test_another_suffix_is_refused() -> None:
    with pytest.raises(SpecError, match=r"'page\.pdf' has the suffix '\.pdf'"):
        page_renderer(Path("page.pdf"))
