"""The frame of a page: whole, escaped, numbers to the right."""

from simulator.report.frame import document, header, plain_table, section


def test_a_page_is_whole_and_escapes_its_words() -> None:
    page = document("a < b", header("a < b", "x & y"), section("<i>", "<svg></svg>"))
    assert page.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert page.endswith("</body></html>\n")
    assert page.count("a &lt; b") == 2
    assert "x &amp; y" in page
    assert "<h2>&lt;i&gt;</h2><svg>" in page


def test_a_section_without_content_is_none() -> None:
    assert section("title", "", "") == ""
    assert plain_table(("a",), []) == ""


def test_columns_of_numbers_stand_to_the_right() -> None:
    rows = [
        ("1f1b", "5.6 s", "-3.1 %", "$1.2M (0.9-2)", "1e-05", ""),
        ("<b>", "-", "0", *["7"] * 3),
    ]
    shown = plain_table(("name", "time", "change", "cost", "small", "some"), rows)
    assert shown.count('<td class="number">') == 10
    assert "<td>1f1b</td>" in shown
    assert "&lt;b&gt;" in shown
