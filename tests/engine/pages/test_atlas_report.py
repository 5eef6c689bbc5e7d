"""The report of an atlas: its figures, its texts, and that it loads nothing."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from jinja2 import UndefinedError
from setuptools import Distribution

from styleatlas.engine.pages.atlas_report import (
    MAX_LAYERS,
    ChannelFigure,
    PromptPair,
    relevance_chart,
    report_html,
    write_report,
)
from styleatlas.engine.pages.highlights import (
    layer_answers,
    leading_channels,
    measured_layers,
    spread_phrases,
    strongest_channels,
)
from styleatlas.engine.pages.html import TEMPLATES, page
from styleatlas.store.atlas import Atlas
from styleatlas.store.bank import PromptBank
from styleatlas.store.errors import OptionError, OutputError
from styleatlas.store.fingerprint import Fingerprint, ModelIdentity
from styleatlas.store.layout import StyleLayout

HOSTILE = "</svg></style><script>alert(1)</script><img src=http://x.y/z onerror=alert(2)>\"'&"
PNG = b"\x89PNG\r\n\x1a\n not really"


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, tables, and all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.text = ""
        self._cell = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._cell:
            self.tables[-1][-1][-1] += data

    @property
    def shape(self) -> list[tuple[str, list[str]]]:
        return [(tag, sorted(attributes)) for tag, attributes in self.elements]


@pytest.fixture
def pair(countable_atlas) -> PromptPair:
    text = countable_atlas.prompts.embeddings[1] - countable_atlas.prompts.embeddings[0]
    return PromptPair("a picture", "a picture channel7", text / np.linalg.norm(text))


def figure(atlas: Atlas, png: bytes = PNG) -> ChannelFigure:
    return ChannelFigure(int(atlas.channels[0]), (-5.0, 0.0, 5.0), png)


def with_settings(atlas: Atlas, **settings: object) -> Atlas:
    origin = atlas.fingerprint
    return replace(atlas, fingerprint=replace(origin, settings={**origin.settings, **settings}))


# What the layers answer


def test_answer_of_a_layer_is_the_sum_of_its_channels_movements(countable_atlas):
    texts = countable_atlas.prompts.embeddings
    found = layer_answers(countable_atlas, texts)
    layers = measured_layers(countable_atlas)
    assert [layer.name for layer in layers] == ["b4.conv1", "b4.torgb", "b8.conv0", "b8.torgb"]
    for column, layer in enumerate(layers):
        rows = [countable_atlas.row_of(flat) for flat in range(layer.start, layer.slice.stop)]
        for row, text in enumerate(texts):
            wanted = sum(abs(float(countable_atlas.responses[r] @ text)) for r in rows)
            assert found[row, column] == pytest.approx(wanted, rel=1e-5)


def test_leading_channels_of_a_layer_are_a_part_of_its_answer(countable_atlas):
    texts = countable_atlas.prompts.embeddings
    whole, one = layer_answers(countable_atlas, texts), layer_answers(countable_atlas, texts, 1)
    assert (one <= whole).all() and (one[:, 2] < whole[:, 2]).all()
    assert np.allclose(layer_answers(countable_atlas, texts, 99), whole, atol=1e-6)
    rows = slice(*np.searchsorted(countable_atlas.channels, [7, 11]))  # b8.conv0
    most = np.abs(countable_atlas.responses[rows] @ texts.T).max(0)
    assert np.allclose(one[:, 2], most, atol=1e-6)


def test_chart_of_a_pair_shows_the_layer_of_its_channel_longest(countable_atlas, pair):
    chart = Page(relevance_chart(countable_atlas, pair))
    bars = [attrs for tag, attrs in chart.elements if tag == "rect" and "fill-opacity" in attrs]
    widths = [float(bar["width"]) for bar in bars]
    assert len(widths) == 4 and int(np.argmax(widths)) == 2
    assert "“a picture” → “a picture channel7”" in chart.text


# What is chosen


def test_phrases_are_spread_over_the_bank(countable_atlas):
    planes = np.eye(countable_atlas.prompts.width, dtype=np.float32)
    close = planes[:3] + 0.01 * planes[3:6]
    rows = np.concatenate([planes[:3], close / np.linalg.norm(close, axis=1, keepdims=True)])
    bank = PromptBank(tuple("abcdef"), rows)
    atlas = replace(countable_atlas, prompts=bank)
    assert sorted(i % 3 for i in spread_phrases(atlas, 3)) == [0, 1, 2], "no two alike"
    assert sorted(spread_phrases(atlas, 99)) == list(range(6)), "none twice"
    alike = PromptBank(tuple("abcd"), np.tile(planes[:1], (4, 1)))
    assert sorted(spread_phrases(replace(atlas, prompts=alike), 4)) == list(range(4))


def test_strongest_channels_leave_out_what_moves_nothing(countable_atlas, make_generator):
    found = strongest_channels(countable_atlas, 99)
    assert make_generator.DEAD not in found
    assert len(found) == int((countable_atlas.consistency > 0).sum()) == 11
    lengths = countable_atlas.consistency * countable_atlas.strength
    sizes = [float(lengths[countable_atlas.row_of(flat)]) for flat in found]
    assert sizes == sorted(sizes, reverse=True)
    assert strongest_channels(countable_atlas, 3) == found[:3]


def test_leading_channels_are_one_a_layer_in_execution_order(countable_atlas, make_generator):
    found = leading_channels(countable_atlas, 99)
    layers = [countable_atlas.layout.locate(flat)[0] for flat in found]
    assert layers == measured_layers(countable_atlas)
    lengths = countable_atlas.consistency * countable_atlas.strength
    for flat, layer in zip(found, layers, strict=True):
        rows = [countable_atlas.row_of(i) for i in range(layer.start, layer.slice.stop)]
        assert lengths[countable_atlas.row_of(flat)] == max(lengths[row] for row in rows)
    assert set(leading_channels(countable_atlas, 2)) < set(found)


# The page


def test_tables_hold_the_figures_of_the_atlas(countable_atlas):
    layers, channels = Page(report_html(countable_atlas)).tables
    assert len(layers) == 1 + len(countable_atlas.layout)
    for line, layer in zip(layers[1:], countable_atlas.layout, strict=True):
        inside = (countable_atlas.channels >= layer.start) & (
            countable_atlas.channels < layer.slice.stop
        )
        medians = ["\u2013"] * 2
        if inside.any():
            tables = (countable_atlas.consistency, countable_atlas.strength)
            medians = [f"{np.median(table[inside]):.4f}" for table in tables]
        sizes = [f"{layer.resolution} px", str(layer.size), str(inside.sum())]
        assert [line[0], *line[2:]] == [layer.name, *sizes, *medians]
    assert len(channels) == 1 + 11
    for line, flat in zip(channels[1:], strongest_channels(countable_atlas, 20), strict=True):
        row = countable_atlas.row_of(flat)
        assert line[0] == countable_atlas.layout.label(flat)
        movement = np.linalg.norm(countable_atlas.responses[row])
        numbers = (movement, countable_atlas.consistency[row], countable_atlas.strength[row])
        assert [line[1], *line[4:]] == [f"{value:.4f}" for value in numbers]
        meaning = countable_atlas.query_prompts(line[0], 3)
        for cell, side in ((line[2], "towards"), (line[3], "away")):
            assert cell == ", ".join(r["prompt"] for r in meaning if r["side"] == side)


def test_map_tells_each_layers_share_of_each_phrase(countable_atlas):
    text = Page(report_html(countable_atlas)).text
    bank = countable_atlas.prompts
    for phrase, direction in zip(bank.texts, bank.centred().embeddings, strict=True):
        answers = layer_answers(countable_atlas, direction[None])[0]
        for layer, share in zip(
            measured_layers(countable_atlas), answers / answers.sum(), strict=True
        ):
            assert f"{phrase}, {layer.name}: {share:.1%}" in text


def test_page_tells_where_the_atlas_comes_from_and_what_its_bank_holds(countable_atlas):
    text = Page(report_html(countable_atlas)).text
    origin = countable_atlas.fingerprint
    for part in (
        origin.generator.sha256,
        origin.clip.sha256,
        countable_atlas.created,
        countable_atlas.library,
        *countable_atlas.prompts.texts,
        *origin.settings["templates"],
    ):
        assert part in text


def test_audit_is_told_where_there_was_one(countable_atlas):
    audit = {"channels": 32, "median_cosine": 0.9731, "lowest_cosine": 0.41, "new": 7}
    text = Page(report_html(with_settings(countable_atlas, audit=audit))).text
    assert "median cosine of slope and sweep0.9731" in text
    assert "lowest cosine of slope and sweep0.41" in text and "new7" in text
    assert "Audit" not in Page(report_html(countable_atlas)).text
    assert "Audit" not in Page(report_html(with_settings(countable_atlas, audit="?"))).text


def test_pictures_lie_inside_the_page(countable_atlas):
    page = Page(report_html(countable_atlas, (), [figure(countable_atlas)]))
    (image,) = (attrs for tag, attrs in page.elements if tag == "img")
    assert image["src"] == "data:image/png;base64," + base64.b64encode(PNG).decode()
    assert "b4.conv1:0" in image["alt"]
    assert all(step in page.text for step in ("\u22125 \u03c3", "as it was", "+5 \u03c3"))


def test_page_loads_nothing_and_runs_nothing(countable_atlas, pair):
    html = report_html(countable_atlas, [pair], [figure(countable_atlas)])
    page = Page(html)
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.elements}
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on") and name != "style"
            if name in ("src", "href"):
                start = "data:image/png;base64," if tag == "img" else "#"
                assert value and value.startswith(start)
            elif name != "xmlns":
                assert "://" not in (value or "")
    style = html[html.index("<style>") + 7 : html.index("</style>")]
    assert "url(" not in style and "@import" not in style
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert {attrs["href"][1:] for tag, attrs in page.elements if tag == "a"} == ids


def test_tables_and_charts_scroll_in_boxes_of_their_own(countable_atlas, pair):
    """So that no page is wider than a phone: each is inside a box that scrolls, by keys as well."""
    html = report_html(countable_atlas, [pair], [figure(countable_atlas)])
    opened = re.findall(r'<div class="scroll" tabindex="0">\s*<(\w+)', html)
    assert opened.count("table") == html.count("<table") == 2
    assert opened.count("svg") == html.count("<svg") == 4
    assert ".scroll { overflow-x: auto" in html


def test_policy_of_the_page_allows_its_own_style_and_pictures_alone(countable_atlas):
    html = report_html(countable_atlas)
    (policy,) = (
        attributes["content"]
        for tag, attributes in Page(html).elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    style = html[html.index("<style>") + 7 : html.index("</style>")]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
    assert rules == {
        "default-src": ["'none'"],
        "img-src": ["data:"],
        "style-src": [f"'sha256-{digest}'"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
    }


def test_no_text_of_an_atlas_becomes_markup(countable_atlas, pair):
    """A page of hostile texts has the very elements and attributes of one of harmless texts."""

    def page_of(evil: str) -> Page:
        layout = StyleLayout.of(
            (f"{layer.name}{evil.replace(':', '')}", layer.kind, layer.resolution, layer.size)
            for layer in countable_atlas.layout
        )
        texts = [f"{i}{evil}" for i in range(len(countable_atlas.prompts))]
        sizes = {f"width{evil}": 3}
        models = [ModelIdentity(f"m{evil}", "a" * 64, sizes) for _ in range(2)]
        settings = {"method": evil, f"key{evil}": [evil], "audit": {f"{evil}!": evil}}
        settings["templates"] = ["{}", f"{{}}{evil}"]
        atlas = replace(
            countable_atlas,
            layout=layout,
            prompts=PromptBank(tuple(texts), countable_atlas.prompts.embeddings),
            fingerprint=Fingerprint(*models, settings),
            library=f"l{evil}",
        )
        pairs = [PromptPair(f"n{evil}", f"t{evil}", pair.text)]
        return Page(report_html(atlas, pairs, [figure(atlas)]))

    hostile, harmless = page_of(HOSTILE), page_of("x")
    assert hostile.shape == harmless.shape
    assert hostile.text.count(HOSTILE) > 20, "every text is there to be read"


def test_texts_that_no_file_can_hold_are_mended(countable_atlas, tmp_path):
    atlas = with_settings(countable_atlas, note="\ud800\x00\x1b")
    page = report_html(atlas)
    assert "\ufffd\ufffd\ufffd" in page
    write_report(page, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text("utf-8") == page


@pytest.mark.parametrize("what", ["phrases", "rows"])
def test_atlas_without_phrases_or_rows_has_a_page(countable_atlas, what, pair):
    if what == "phrases":
        width = countable_atlas.prompts.width
        atlas = replace(countable_atlas, prompts=PromptBank((), np.empty((0, width), np.float32)))
    else:
        names = ("channels", "rows", "consistency", "strength", "images")
        empty = {name: getattr(countable_atlas, name)[:0] for name in names}
        atlas = replace(countable_atlas, **empty)
    page = Page(report_html(atlas, [pair]))
    assert "Layers" in page.text and "nan" not in page.text.lower()
    assert "Strongest channels" in page.text and "Phrases over layers" not in page.text


def test_page_without_a_value_is_not_written_with_a_hole():
    with pytest.raises(UndefinedError, match="record"):
        page("report.html", "Atlas of", "x", {"layers": "Layers"}, {}, footer="")


@pytest.mark.parametrize(
    ("module", "heavy"),
    [("pages.atlas_report", {"jinja2", "torch"}), ("evaluation.page", {"jinja2"})],
)
def test_templates_are_loaded_by_those_alone_who_write_pages(module, heavy):
    code = f"import sys, styleatlas.engine.{module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not heavy & set(done.stdout.split())


def test_templates_are_in_the_package_that_is_built(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[3])
    project = Distribution()
    project.parse_config_files()
    assert "styleatlas.engine.pages" in project.packages
    patterns = project.package_data["styleatlas.engine.pages"]
    packed = {path for pattern in patterns for path in TEMPLATES.parent.glob(pattern)}
    assert packed == set(TEMPLATES.iterdir()) and len(packed) > 3


def test_longest_bank_and_longest_settings_keep_the_page_small(countable_atlas):
    count = 20_000
    rows = np.tile(countable_atlas.prompts.embeddings[:1], (count, 1))
    bank = PromptBank(tuple(f"phrase {i} " + "x" * 80 for i in range(count)), rows)
    atlas = with_settings(replace(countable_atlas, prompts=bank), note=["y" * 500_000])
    page = report_html(atlas)
    assert len(page) < 1_000_000
    assert "and 15,000 more" in page


def test_atlas_of_too_many_layers_is_refused(countable_atlas):
    size = countable_atlas.layout.size
    layout = StyleLayout.of((f"l{i}", "conv", 4, 1) for i in range(MAX_LAYERS + 1))
    wide = replace(
        countable_atlas,
        layout=layout,
        style_mean=np.resize(countable_atlas.style_mean, layout.size),
        style_std=np.resize(countable_atlas.style_std, layout.size),
    )
    assert layout.size > size
    with pytest.raises(OptionError, match="atlas: has 201 layers; a report shows up to 200"):
        report_html(wide)


def test_report_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("the old one")

    def fail(*given: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr("styleatlas.store.output.os.replace", fail)
    with pytest.raises(OutputError, match="cannot be written"):
        write_report("new", path)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["the old one"]


def test_only_names_of_html_files_are_written_to(tmp_path):
    with pytest.raises(OutputError, match=re.escape("reports are written as HTML; end the name")):
        write_report("page", tmp_path / "report.pdf")
    assert list(tmp_path.iterdir()) == []
