"""An inspection as one HTML page from which a stranger can say whether the data is fit to train on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from model_build.data.similarity import CORRELATION, HASH_DISTANCE
from model_build.html import elements
from model_build.html.charts import Mark, histogram, size_scatter, stacked_bars
from model_build.html.elements import Html, element, join, text
from model_build.inspection.duplicates import Group
from model_build.inspection.evidence import InspectionEvidence, Issue, IssueSeverity
from model_build.inspection.facts import PhotoFacts
from model_build.inspection.inspection import Inspection
from model_build.inspection.sheets import MOST_GROUPS, MOST_IN_GROUP, MOST_PER_CLASS, STYLE, Sheets, strip
from model_build.inspection.summary import Spread

_FILES_SHOWN = 12
_UNREADABLE_OPEN, _UNREADABLE_SHOWN = 15, 200
_OPEN_CLASSES = 20
_WORDS = {IssueSeverity.STOP: "Must be fixed", IssueSeverity.FIX: "Should be fixed", IssueSeverity.NOTE: "Good to know"}
_SPLIT_WORDS = {"all": "photos"}
_STYLE = """
.findings { list-style: none; padding: 0; }
.findings > li { border-left: 4px solid var(--line); padding: .1rem 0 .3rem 1rem; margin: 1.1rem 0; }
.findings > li.is-stop { border-color: var(--stop); } .findings > li.is-fix { border-color: var(--fix); }
.findings > li.is-note { border-color: var(--note); } .findings h3 { margin: .3rem 0 .2rem; }
.findings .badge { margin-right: .4rem; } .findings ul { margin: .2rem 0; padding-left: 1.2rem; }
"""
_ASPECTS = (1 / 3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.1, 1.25, 1.43, 1.67, 2.0, 2.5, 3.0)
_STEPS_PER_DOUBLING = 6  # sizes that differ by less than 12 % share a disc


def render(inspection: Inspection, sheets: Sheets, made_at: str) -> str:
    """The page. ``made_at`` is written as it is."""
    return elements.page(
        f"Data inspection: {inspection.source}", _parts(inspection, sheets, made_at), style=_STYLE + STYLE
    )


def _parts(inspection: Inspection, sheets: Sheets, made_at: str) -> Iterator[str]:
    evidence = inspection.evidence
    summary = evidence.summary
    yield element("h1", "Data inspection")
    yield element("p", join([element("code", inspection.source), text(f", inspected {made_at}")]), "muted")
    yield _verdict(inspection)
    yield elements.tiles(
        [
            (f"{len(evidence.photos):,}", "readable photos"),
            (f"{len(evidence.labels):,}", "classes"),
            (f"{len(evidence.unreadable):,}", "unreadable files"),
            (
                f"{len({photo.name for group in evidence.leaks for photo in group.leaked}):,}",
                "photos leak between splits",
            ),
            (f"{summary.balance.ratio:.1f}", "largest to smallest class"),
            (f"{summary.input_size.pixels} px", "suggested input size"),
        ]
    )
    yield element("h2", "Findings")
    yield _findings(inspection.findings)
    yield from _classes(inspection)
    yield from copies_section(evidence, sheets)
    yield from _unreadable(inspection)
    yield from sizes_section(evidence)
    yield from _sheets(inspection, sheets)
    yield from _method(inspection)


def _verdict(inspection: Inspection) -> Html:
    kind = inspection.worst.value if inspection.worst in (IssueSeverity.STOP, IssueSeverity.FIX) else "good"
    counts = [
        (sum(finding.severity is severity for finding in inspection.findings), words)
        for severity, words in (
            (IssueSeverity.STOP, "must be fixed before training"),
            (IssueSeverity.FIX, "should be fixed"),
            (IssueSeverity.NOTE, "good to know"),
        )
    ]
    told = "; ".join(f"{count} {words}" for count, words in counts if count) or "no problems"
    verdict = element("p", element("strong", inspection.verdict))
    return Html(f'<div class="verdict {kind}">{verdict}<p>Findings: {text(told)}.</p></div>')


def _findings(findings: tuple[Issue, ...]) -> Html:
    if not findings:
        return element("p", "None: no unreadable files, no copies, no leaks, balanced classes.")
    items = []
    for finding in findings:
        head = join([elements.badge(_WORDS[finding.severity], finding.severity), text(finding.title)])
        parts = [
            element("h3", head),
            element("p", finding.meaning),
            element("p", join([element("strong", "What to do: "), text(finding.action)])),
        ]
        if finding.files:
            parts.append(_files(finding.files))
        items.append(f'<li class="is-{finding.severity}">{join(parts)}</li>')
    return Html(f'<ul class="findings">{"".join(items)}</ul>')


def _files(names: tuple[str, ...]) -> Html:
    shown = join(element("li", element("code", name)) for name in names[:_FILES_SHOWN])
    more = len(names) - _FILES_SHOWN
    if more > 0:
        shown = join([shown, element("li", f"and {more:,} more; --format json lists all", "muted")])
    return Html(f"<details><summary>{len(names):,} files</summary><ul>{shown}</ul></details>")


def _classes(inspection: Inspection) -> Iterator[str]:
    summary = inspection.evidence.summary
    yield element("h2", "Classes")
    balance = summary.balance
    even = f"Every class has {balance.largest[1]:,} {_training(inspection)}."
    uneven = (
        f"The largest class is {balance.largest[0]!r} with {balance.largest[1]:,} {_training(inspection)}, the smallest"
        f" {balance.smallest[0]!r} with {balance.smallest[1]:,}: a ratio of {balance.ratio:.1f}. Evenness is"
        f" {balance.evenness:.3f} (normalized entropy of the class shares: 1 is balanced, 0 is a single class)."
    )
    yield element("p", even if balance.ratio == 1 else uneven)
    names = [_SPLIT_WORDS.get(split, split) for split in summary.splits]
    rows = [(label, [counts[split] for split in summary.splits]) for label, counts in summary.counts.items()]
    label = f"Photos of each class: from {balance.smallest[1]:,} to {balance.largest[1]:,} {_training(inspection)}"
    yield elements.figure(stacked_bars(rows, names, label), "Readable photos of each class, by split.")
    total = ["all", *(f"{summary.total(split):,}" for split in summary.splits)]
    cells = [[name, *(f"{count:,}" for count in counts)] for name, counts in rows]
    table = elements.table(["class", *names], [*cells, total])
    yield f"<details><summary>As a table</summary>{table}</details>"


def _training(inspection: Inspection) -> str:
    return "training photos" if inspection.evidence.is_split else "photos"


def _unreadable(inspection: Inspection) -> Iterator[str]:
    files = inspection.evidence.unreadable
    yield element("h2", "Unreadable files")
    if not files:
        yield element("p", "None: the function would accept every file.")
        return
    yield element("p", "With the reason the function gives: it would reject these files, and training skips them.")
    rows = [
        (
            element("code", one.photo.name),
            element("code", one.refused.code, "nowrap"),
            one.refused.message,
            f"{one.size_bytes:,}",
        )
        for one in files[:_UNREADABLE_SHOWN]
    ]
    head = ("file", "code", "reason", "bytes")
    yield elements.table(head, rows[:_UNREADABLE_OPEN], words=(0, 1, 2))
    if rows[_UNREADABLE_OPEN:]:
        rest = elements.table(head, rows[_UNREADABLE_OPEN:], words=(0, 1, 2))
        yield f"<details><summary>{len(rows) - _UNREADABLE_OPEN} more</summary>{rest}</details>"
    if len(files) > _UNREADABLE_SHOWN:
        yield element("p", f"And {len(files) - _UNREADABLE_SHOWN:,} more; --format json lists all.", "muted")


def _sheets(inspection: Inspection, sheets: Sheets) -> Iterator[str]:
    yield element("h2", "Contact sheets")
    yield element(
        "p",
        "A random sample of each class (fixed seed). Look for wrong labels, more than one object, and backgrounds that "
        "give a class away.",
    )
    opened = " open" if len(sheets.classes) <= _OPEN_CLASSES else ""
    for label, photos in sheets.classes.items():
        total = sum(inspection.evidence.summary.counts[label].values())
        head = join([element("strong", label), element("span", f" {len(photos)} of {total:,}", "muted")])
        yield f"<details{opened}><summary>{head}</summary>{strip(photos, sheets)}</details>"


def _method(inspection: Inspection) -> Iterator[str]:
    evidence = inspection.evidence
    yield element("h2", "How this was measured")
    compared = len(evidence.photos) * (len(evidence.photos) - 1) // 2
    yield "<ul>"
    for line in (
        "Every file was decoded by the code that the function uses, with the same limits.",
        "Exact copies have the same SHA-256 digest.",
        f"Nearly identical: 64-bit perceptual hashes that differ in at most {HASH_DISTANCE} bits, and 16 x 16 colour"
        f" versions that correlate at {CORRELATION} or more. That finds resized, re-encoded, brightened and slightly"
        " cropped copies; not mirrored, rotated or strongly cropped ones, nor other photos of the same object."
        f" All {compared:,} pairs count.",
        "Photos of a single colour are not compared.",
    ):
        yield element("li", line)
    yield "</ul>"


def copies_section(evidence: InspectionEvidence, sheets: Sheets) -> Iterator[str]:
    yield element("h2", "Copies and leaks")
    found = evidence.duplicates
    if not found.exact and not found.near:
        yield element("p", "None: no photo is an exact or a nearly identical copy of another.")
    everything = (*found.exact, *found.near)
    leaks = [group for group in everything if group.leaks]
    conflicts = [group for group in everything if group.conflicts and not group.leaks]
    plain = [group for group in everything if not group.leaks and not group.conflicts]
    yield from _groups("Between splits", "A model must not be tested on photos it was trained on.", leaks, sheets)
    yield from _groups("Between classes", "The same picture under several labels.", conflicts, sheets)
    yield from _groups(
        "Within a class", "They add nothing new; the finding above says how much that matters here.", plain, sheets
    )
    if found.blank:
        yield element("h3", f"Blank photos: {len(found.blank):,}")
        yield strip(found.blank[:MOST_PER_CLASS], sheets, named=True)


def _groups(title: str, meaning: str, groups: Sequence[Group], sheets: Sheets) -> Iterator[str]:
    if not groups:
        return
    yield element("h3", f"{title}: {len(groups):,} picture{'' if len(groups) == 1 else 's'}")
    yield element("p", meaning)
    yield '<div class="groups">'
    for group in groups[:MOST_GROUPS]:
        yield f"<div>{_caption(group)}{strip(group.photos[:MOST_IN_GROUP], sheets, named=True)}</div>"
    yield "</div>"
    more = len(groups) - MOST_GROUPS
    if more > 0:
        yield element("p", f"And {more:,} more; --format json lists all.", "muted")


def _caption(group: Group) -> Html:
    at_least = math.floor(group.correlation * 1000) / 1000
    kind = "exact copies" if group.kind == "exact" else f"nearly identical, correlation {at_least:.3f}"
    words = [f"{len(group.photos):,} photos, {kind}"]
    if group.conflicts:
        words.append(f"labels {' / '.join(group.labels)}")
    if len(group.photos) > MOST_IN_GROUP:
        words.append(f"{MOST_IN_GROUP} shown")
    return element("p", "; ".join(words), "muted small")


def sizes_section(evidence: InspectionEvidence) -> Iterator[str]:
    summary = evidence.summary
    photos = evidence.photos
    yield element("h2", "Sizes, shapes and formats")
    yield elements.facts(
        [
            ("Suggested input size", f"{summary.input_size.pixels} x {summary.input_size.pixels}"),
            ("because", f"{summary.input_size.reason}."),
        ]
    )
    spreads = (("short side, px", summary.short_side), ("long side, px", summary.long_side))
    yield elements.table(
        ["", "smallest", "25th percentile", "median", "75th percentile", "largest"],
        [
            *([name, *_cells(spread, "{:,.0f}")] for name, spread in spreads),
            ["long to short side", *_cells(summary.aspect, "{:.2f}")],
            ["file, KB", *_cells(summary.file_bytes, "{:,.1f}", 1 / 1024)],
        ],
    )
    short, long = summary.short_side, summary.long_side
    sides = f"short sides from {short.lowest:,.0f} to {short.highest:,.0f}, long from {long.lowest:,.0f} to"
    yield elements.figure(
        size_scatter(_discs(photos), f"Widths and heights: {sides} {long.highest:,.0f} pixels"),
        "Width (x) and height (y) in pixels, on log scales; a larger circle means more photos of about that size. "
        "Square photos lie on the dashed line.",
    )
    edges, counts, words = _aspects(photos)
    yield elements.figure(
        histogram(
            edges,
            counts,
            f"Aspect ratios: {summary.wide:,} of {len(photos):,} photos are longer than twice their width, or wider",
            edge_words=words,
            marks=[Mark(1.0, "square")],
        ),
        "Photos by width over height: portrait on the left, landscape on the right.",
    )
    rows = [(name, f"{count:,}", f"{count / len(photos):.1%}") for name, count in summary.formats.items()]
    yield elements.table(["format", "photos", "share"], rows)
    rows = [(name, f"{count:,}", f"{count / len(photos):.1%}") for name, count in summary.modes.items()]
    yield elements.table(["pixel mode", "photos", "share"], rows)
    yield element("p", f"Total size of the readable files: {summary.size_bytes / 1e6:,.1f} MB.")


def _cells(spread: Spread, form: str, factor: float = 1.0) -> list[str]:
    values = (spread.lowest, spread.quarter, spread.median, spread.three_quarters, spread.highest)
    return [form.format(value * factor) for value in values]


def _discs(photos: tuple[PhotoFacts, ...]) -> list[tuple[int, int, int]]:
    """Sizes with their counts, those of about the same size as one: the page stays small however many there are."""
    found: dict[tuple[int, int], Counter[tuple[int, int]]] = {}
    for photo in photos:
        size = photo.measured.width, photo.measured.height
        cell = _step(size[0]), _step(size[1])
        found.setdefault(cell, Counter())[size] += 1
    discs = []
    for sizes in found.values():
        (width, height), _ = sizes.most_common(1)[0]
        discs.append((width, height, sizes.total()))
    return discs


def _step(side: int) -> int:
    return round(math.log2(side) * _STEPS_PER_DOUBLING)


def _aspects(photos: tuple[PhotoFacts, ...]) -> tuple[list[float], list[int], list[str]]:
    ratios = np.array([photo.measured.width / photo.measured.height for photo in photos])
    edges = [0.0, *_ASPECTS, math.inf]
    counts = [int(((ratios >= low) & (ratios < high)).sum()) for low, high in pairwise(edges)]
    return edges, counts, ["", "1:3", "", "1:2", "", "", "", "", "", "", "", "", "2:1", "", "3:1", ""]
