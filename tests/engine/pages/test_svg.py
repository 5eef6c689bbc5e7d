"""Elements of charts: what is escaped, what is replaced, and how attributes are named."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from markupsafe import Markup

from styleatlas.engine.pages.svg import element, frame, legend, letters


def test_texts_are_escaped_and_markup_is_not():
    inner = element("b", "<&>\"'")
    assert inner == "<b>&lt;&amp;&gt;&#34;&#39;</b>"
    assert element("p", inner, " & ", title='"><script>') == (
        f'<p title="&#34;&gt;&lt;script&gt;">{inner} &amp; </p>'
    )
    assert element("p", Markup("<b>") + "<i>") == "<p><b>&lt;i&gt;</p>", "a sum escapes the text"
    assert element("p", "".join([Markup("<b>")])) == "<p>&lt;b&gt;</p>", "a plain text is escaped"


def test_attributes_are_named_as_in_svg():
    assert element("a", font_size=3, y=None, dx=0.1234567) == '<a font-size="3" dx="0.123457"></a>'


@pytest.mark.parametrize("unfit", ["\x00", "\x1b", "\x7f", "\x9f", "\ud800", "\ufffe"])
def test_characters_that_no_file_may_hold_are_replaced(unfit):
    found = element("p", f"a{unfit}b", title=unfit)
    assert found == '<p title="\ufffd">a\ufffdb</p>'
    found.encode()


def test_frame_is_named_and_as_large_as_it_says():
    chart = ET.fromstring(frame("a <title>", 30, 20.4, letters(1, 2, "x")))
    assert chart.attrib["viewBox"] == "0 0 30 20"
    assert (chart.attrib["width"], chart.attrib["height"]) == ("30", "20")
    assert [node.text for node in chart] == ["a <title>", "x"]


def test_names_of_a_legend_stand_beside_their_hues_and_apart():
    chart = ET.fromstring(frame("", 300, 20, *legend([("one", "#111"), ("two", "#222")], 4.0, 9)))
    _, *nodes = chart
    assert [node.attrib.get("fill") or node.text for node in nodes] == [
        "#111",
        "one",
        "#222",
        "two",
    ]
    places = [float(node.attrib["x"]) for node in nodes]
    assert places == sorted(places) and places[2] - places[1] > 3 * 0.5 * 9.5
