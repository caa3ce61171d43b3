"""An inspection as one HTML page from which a stranger can say whether the data is fit to train on."""

from __future__ import annotations

from collections.abc import Iterator

from model_build.inspection.finding import Finding, Severity
from model_build.inspection.hashing import CORRELATION, HASH_DISTANCE
from model_build.inspection.inspection import Inspection
from model_build.inspection.page_copies import copies_section
from model_build.inspection.page_sizes import sizes_section
from model_build.inspection.page_thumbnails import STYLE, strip
from model_build.inspection.sheets import Sheets
from model_build.report import html
from model_build.report.charts import stacked_bars
from model_build.report.html import Html, element, join, text

_FILES_SHOWN = 12
_UNREADABLE_OPEN, _UNREADABLE_SHOWN = 15, 200
_OPEN_CLASSES = 20
_WORDS = {Severity.STOP: "Must be fixed", Severity.FIX: "Should be fixed", Severity.NOTE: "Good to know"}
_SPLIT_WORDS = {"all": "photos"}
_STYLE = """
.findings { list-style: none; padding: 0; }
.findings > li { border-left: 4px solid var(--line); padding: .1rem 0 .3rem 1rem; margin: 1.1rem 0; }
.findings > li.is-stop { border-color: var(--stop); } .findings > li.is-fix { border-color: var(--fix); }
.findings > li.is-note { border-color: var(--note); } .findings h3 { margin: .3rem 0 .2rem; }
.findings .badge { margin-right: .4rem; } .findings ul { margin: .2rem 0; padding-left: 1.2rem; }
"""


def render(inspection: Inspection, sheets: Sheets, made_at: str) -> str:
    """The page. ``made_at`` is written as it is."""
    return html.page(f"Data inspection: {inspection.source}", _parts(inspection, sheets, made_at), style=_STYLE + STYLE)


def _parts(inspection: Inspection, sheets: Sheets, made_at: str) -> Iterator[str]:
    evidence = inspection.evidence
    summary = evidence.summary
    yield element("h1", "Data inspection")
    yield element("p", join([element("code", inspection.source), text(f", inspected {made_at}")]), "muted")
    yield _verdict(inspection)
    yield html.tiles(
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
    kind = inspection.worst.value if inspection.worst in (Severity.STOP, Severity.FIX) else "good"
    counts = [
        (sum(finding.severity is severity for finding in inspection.findings), words)
        for severity, words in (
            (Severity.STOP, "must be fixed before training"),
            (Severity.FIX, "should be fixed"),
            (Severity.NOTE, "good to know"),
        )
    ]
    told = "; ".join(f"{count} {words}" for count, words in counts if count) or "nothing was found to object to"
    verdict = element("p", element("strong", inspection.verdict))
    return Html(f'<div class="verdict {kind}">{verdict}<p>Findings: {text(told)}.</p></div>')


def _findings(findings: tuple[Finding, ...]) -> Html:
    if not findings:
        return element("p", "None: no unreadable files, no copies, no leaks, even classes.")
    items = []
    for finding in findings:
        head = join([html.badge(_WORDS[finding.severity], finding.severity), text(finding.title)])
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
        f" {balance.evenness:.3f} (the entropy of the class shares over that of equal shares: 1 is even, 0 is one class"
        " alone)."
    )
    yield element("p", even if balance.ratio == 1 else uneven)
    names = [_SPLIT_WORDS.get(split, split) for split in summary.splits]
    rows = [(label, [counts[split] for split in summary.splits]) for label, counts in summary.counts.items()]
    label = f"Photos of each class: from {balance.smallest[1]:,} to {balance.largest[1]:,} {_training(inspection)}"
    yield html.figure(stacked_bars(rows, names, label), "Readable photos of each class, by split.")
    total = ["all", *(f"{summary.total(split):,}" for split in summary.splits)]
    cells = [[name, *(f"{count:,}" for count in counts)] for name, counts in rows]
    table = html.table(["class", *names], [*cells, total])
    yield f"<details><summary>The same as a table</summary>{table}</details>"


def _training(inspection: Inspection) -> str:
    return "training photos" if inspection.evidence.is_split else "photos"


def _unreadable(inspection: Inspection) -> Iterator[str]:
    files = inspection.evidence.unreadable
    yield element("h2", "Unreadable files")
    if not files:
        yield element("p", "None: the function would accept every file.")
        return
    yield element(
        "p", "With the function's own reasons: it would reject them in service, and training leaves them out."
    )
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
    yield html.table(head, rows[:_UNREADABLE_OPEN], words=(0, 1, 2))
    if rows[_UNREADABLE_OPEN:]:
        rest = html.table(head, rows[_UNREADABLE_OPEN:], words=(0, 1, 2))
        yield f"<details><summary>{len(rows) - _UNREADABLE_OPEN} more</summary>{rest}</details>"
    if len(files) > _UNREADABLE_SHOWN:
        yield element("p", f"And {len(files) - _UNREADABLE_SHOWN:,} more; --format json lists all.", "muted")


def _sheets(inspection: Inspection, sheets: Sheets) -> Iterator[str]:
    yield element("h2", "Contact sheets")
    yield element(
        "p",
        "Photos of each class chosen by chance, always the same ones. Look for what does not belong, for more than one"
        " object, and for backgrounds that give a class away.",
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
        "Every file was decoded by the code that decodes images in service, with the same limits.",
        "Exact copies have the same SHA-256 digest.",
        f"Nearly identical: 64-bit perceptual hashes that differ in at most {HASH_DISTANCE} bits, and 16 x 16 colour"
        f" versions that correlate at {CORRELATION} or more. That finds resized, re-encoded, brightened and slightly"
        " cropped copies; not mirrored, turned or strongly cropped ones, nor other photos of the same object."
        f" All {compared:,} pairs count.",
        "Photos of one colour all over are compared with nothing.",
    ):
        yield element("li", line)
    yield "</ul>"
