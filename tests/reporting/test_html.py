import math
import re

import pytest

from kitsolve.reporting.html import Fixed, Html, Share, bar, element, join, show, table
from kitsolve.reporting.page import Section, fill_page

EVIL = "<script>alert('1')</script> & \"co\""
HARMLESS = "&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt; &amp; &quot;co&quot;"


def test_text_is_escaped_and_html_is_not():
    assert element("p", EVIL, element("b", EVIL)) == f"<p>{HARMLESS}<b>{HARMLESS}</b></p>"
    assert join([EVIL, Html("<i></i>"), None, 3]) == f"{HARMLESS}<i></i>3"


def test_attributes_are_escaped_and_those_that_are_none_are_left_out():
    assert element("img", alt=EVIL, class_="x", id=None) == f'<img alt="{HARMLESS}" class="x">'
    assert element("text", text_anchor="end") == '<text text-anchor="end"></text>'


def test_cells_are_escaped_and_columns_of_numbers_stand_at_the_right():
    made = table([EVIL, "rows", "share", "score"], [[EVIL, 1234, Share(0.5), Fixed(2 / 3, 3)], ["b", None, 0.0, ""]])
    assert made.count(HARMLESS) == 2
    assert re.findall(r'<td class="n">(.*?)</td>', made) == ["1,234", "50.0%", "0.667", "–", "0", ""]
    assert made.count('<th class="n">') == 3


def test_the_marked_row_is_the_one_that_stands_out():
    assert '<tr class="marked"><td>b</td>' in table(["x"], [["a"], ["b"]], marked=1)


@pytest.mark.parametrize(("share", "width"), [(0.0, "0.0%"), (0.25, "25.0%"), (1.0, "100.0%")])
def test_a_bar_is_as_long_as_its_share(share, width):
    assert f"width:{width}" in bar(share)


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (None, "–"), (1234567, "1,234,567"), (0.1234567, "0.12346")]
)
def test_values_are_shown_as_people_read_them(value, text):
    assert show(value) == text


def test_what_is_no_number_is_a_dash():
    assert '<td class="n">–</td>' in table(["x"], [[math.nan]])


def test_the_page_has_a_link_for_every_section_and_forbids_requests():
    sections = [Section(name, f"{name} {EVIL}", EVIL, EVIL, Html("<hr>")) for name in ("one", "two")]
    page = fill_page(sections, title=EVIL, subtitle="$links")
    assert re.findall(r'<a href="#(\w+)"', page) == re.findall(r'<section id="(\w+)"', page) == ["one", "two"]
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert page.count("$links") == 2  # what a run's name holds is not filled in again
