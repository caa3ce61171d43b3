"""The report: complete, self-contained, well formed, and no name in it is ever markup."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from bucketlens.cli.inspection_table import show
from model_build.html.charts import histogram, size_scatter, stacked_bars, ticks
from model_build.html.elements import Html, page, table, text
from model_build.inspection.facts import FactsCache
from model_build.inspection.inspection import Inspection
from model_build.inspection.inspection_html import render
from model_build.inspection.sheets import make_sheets
from tests.unit.model_build.inspection.scenes import encoded, inspected, scene, scenes

pytestmark = pytest.mark.slow

HOSTILE = "<script>alert(1)<&>'\"[red]"
VOID = {"meta", "img"}


class Checker(HTMLParser):
    """Fails on tags that do not nest; collects what a browser would act on."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def rendered(inspection: Inspection) -> str:
    with FactsCache(None) as cache:
        return render(inspection, make_sheets(inspection, cache), "2026-11-20 12:00 UTC")


def check(document: str) -> Checker:
    checker = Checker()
    checker.feed(document)
    checker.close()
    assert checker.open == []
    return checker


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> Inspection:
    files = scenes({"train/a": 24, f"train/{HOSTILE.replace('/', '')}": 24, "test/a": 12})
    files[f"train/a/{HOSTILE}.png"] = b"damaged"
    files[f"test/a/{HOSTILE}.png"] = files["train/a/000.png"]
    files["train/a/near.jpg"] = encoded(scene(24), "JPEG")
    return inspected(tmp_path_factory.mktemp("spoiled"), files)


def test_the_page_is_well_formed_and_acts_on_nothing_from_outside(spoiled: Inspection) -> None:
    checker = check(rendered(spoiled))
    assert not [tag for tag, _ in checker.tags if tag in ("script", "link", "iframe", "object", "base")]
    sources = [attributes.get("src") or "" for tag, attributes in checker.tags if tag == "img"]
    assert sources
    assert all(source.startswith("data:image/webp;base64,") for source in sources)
    assert not [name for _, attributes in checker.tags for name in attributes if name.startswith("on")]
    assert all(attributes.get("alt") for tag, attributes in checker.tags if tag == "img")
    assert all(attributes.get("aria-label") for tag, attributes in checker.tags if tag == "svg")


def test_no_name_is_markup(spoiled: Inspection) -> None:
    document = rendered(spoiled)
    assert "<script" not in document
    assert "&lt;script&gt;alert(1)&lt;&amp;&gt;&#x27;&quot;[red]" in document


def test_the_page_begins_with_the_verdict_and_says_everything(spoiled: Inspection) -> None:
    document = rendered(spoiled)
    assert document.index("Not ready for training.") < document.index("<h2>Findings</h2>")
    assert re.findall(r"<h2>([^<]+)</h2>", document) == [
        "Findings",
        "Classes",
        "Copies and leaks",
        "Unreadable files",
        "Sizes, shapes and formats",
        "Contact sheets",
        "How this was measured",
    ]
    assert all(text(finding.title) in document for finding in spoiled.findings)
    assert "image.unsupported_format" in document


def test_a_sound_data_set_has_a_page_as_well(tmp_path: Path) -> None:
    document = rendered(inspected(tmp_path, scenes({"a": 24, "b": 24})))
    check(document)
    assert "Ready for training." in document
    assert "None: the function would accept every file." in document


def test_twenty_classes_stay_within_ten_megabytes(tmp_path: Path) -> None:
    """By the photos that compress worst: noise."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(3)
    files = {
        f"class {label:02d}/{index}.png": Image.fromarray(rng.integers(0, 256, (112, 112, 3), dtype=np.uint8))
        for label in range(20)
        for index in range(24)
    }
    document = rendered(inspected(tmp_path, files))
    assert len(document.encode()) < 10_000_000
    assert document.count("24 of 24") == 20


def test_json_is_complete(spoiled: Inspection) -> None:
    document = json.loads(json.dumps(spoiled.to_document()))
    assert document["schema_version"] == "1"
    assert document["verdict"]["severity"] == "stop"
    assert document["findings"][0]["severity"] == "stop"
    assert document["photos"] == 62
    assert document["files"] == 63
    assert [one["code"] for one in document["unreadable"]] == ["image.unsupported_format"]
    assert [group["leak"] for group in document["duplicates"]["exact"]] == [True]
    assert document["classes"]["a"] == {"train": 25, "test": 13}


def test_the_terminal_shows_names_as_they_are(spoiled: Inspection) -> None:
    console = Console(record=True, width=200, file=io.StringIO())
    show(spoiled, console)
    shown = console.export_text()
    assert HOSTILE in shown
    assert "Not ready for training." in shown


@pytest.mark.parametrize(("highest", "expected"), [(0, [0, 1]), (7, [0, 2, 4, 6, 8]), (135, [0, 50, 100, 150])])
def test_axes_have_round_numbers(highest: float, expected: list[float]) -> None:
    assert ticks(highest) == expected


def test_charts_draw_to_scale_and_escape_labels() -> None:
    bars = stacked_bars([("a<b", [30, 10]), ("none", [0, 0])], ["train", "test"], 'says "so"')
    widths = [float(width) for width in re.findall(r'y="\d+\.\d" width="(\d+\.\d)"', bars)]
    assert widths[0] == pytest.approx(3 * widths[1], rel=0.01)
    assert "a&lt;b" in bars
    assert 'aria-label="says &quot;so&quot;"' in bars
    check(bars)
    columns = histogram([0, 1, 2, 3], [4, 0, 2], "counts")
    heights = [float(height) for height in re.findall(r'height="(\d+\.\d)"><title>', columns)]
    assert heights == [pytest.approx(2 * heights[2]), 0, heights[2]]
    check(columns)
    discs = size_scatter([(400, 300, 5), (300, 400, 1)], "sizes")
    assert discs.count("<circle") == 2
    check(discs)


def test_html_is_escaped_once() -> None:
    assert text("a & b") == "a &amp; b"
    assert text(Html("<b>")) == "<b>"
    assert "<td>&lt;i&gt;</td>" in table(["<"], [["<i>"]])
    check(page("<title>", [table(["a", "b"], [["x", 1]])]))


@pytest.mark.parametrize("copies", [1, 8])
def test_copies_within_a_class_matter_as_much_as_the_finding_says(tmp_path: Path, copies: int) -> None:
    files = scenes({"a": 60, "b": 60}) | {f"a/copy {number}.png": encoded(scene(0)) for number in range(copies)}
    inspection = inspected(tmp_path, files)
    (found,) = (finding for finding in inspection.findings if finding.code == "duplicates.exact")
    assert found.severity == ("note" if copies == 1 else "fix")
    document = rendered(inspection)
    assert "Within a class" in document
    assert "armless" not in document
