"""``tuning.html``: what a study has learnt, as one file to look at; and the same as a part of a run's report."""

from __future__ import annotations

from model_build.files import json_bytes, write_atomic
from model_build.report import charts
from model_build.report.html import Html, element, figure, page, table, tiles
from model_build.tuning import drawing
from model_build.tuning.findings import Findings, TrialRow
from model_build.tuning.studies import PAGE_NAME, SUMMARY_NAME, StudyPlace

STYLE = drawing.STYLE
"""CSS that :func:`section` needs in the page it becomes part of."""

_MOST_ROWS = 50
_ROUGH_BELOW = 20


def write_pages(findings: Findings, place: StudyPlace) -> None:
    """Replace ``tuning.json`` and ``tuning.html`` of the study's folder, each in one step."""
    place.folder.mkdir(parents=True, exist_ok=True)
    write_atomic(place.folder / SUMMARY_NAME, json_bytes(findings.to_document()))
    body = page(
        f"Tuning {findings.study}", [element("h1", f"Tuning: {findings.study}"), *section(findings)], style=STYLE
    )
    write_atomic(place.folder / PAGE_NAME, body.encode())


def section(findings: Findings) -> list[Html]:
    """The parts of the page below its title."""
    best = findings.best
    if best is None:
        return [element("p", "No trial has run to its end yet."), _trials(findings)]
    parts = [
        tiles(
            (
                (f"{best.accuracy or 0.0:.1%}", "best validation accuracy"),
                (best.number, "number of that trial"),
                (findings.count("complete"), "trials that ran to their end"),
                (findings.count("pruned"), "stopped early"),
                (findings.count("failed"), "failed"),
            )
        ),
        element("h2", "The best settings"),
        table(("setting", "value"), [(name, drawn(value)) for name, value in best.params.items()]),
        element("h2", "How far it came"),
        figure(
            drawing.history(findings),
            "Accuracy on the validation photos, trial by trial. The test photos take no part in tuning. The highest of"
            " many trials flatters a little: judge the model by its test photos.",
        ),
    ]
    if findings.importance:
        complete = findings.count("complete")
        rough = f" With {complete} trials this is a rough hint." if complete < _ROUGH_BELOW else ""
        rows = [(name, (round(100 * share, 1),)) for name, share in findings.importance.items()]
        parts += [
            element("h2", "Which settings matter"),
            figure(
                charts.stacked_bars(rows, ("",), "Share of the differences that each setting explains, in percent."),
                "Percent of the differences in accuracy that each setting explains by itself (functional ANOVA)."
                + rough,
            ),
        ]
    else:
        parts.append(element("p", "Which settings matter cannot be told from so few complete trials.", "muted"))
    if findings.count("complete") > 1:
        parts += [
            element("h2", "Which settings went with which accuracy"),
            figure(
                drawing.parallel_coordinates(findings),
                "A line for each trial that ran to its end: thick the best one, blue the best quarter. Where the blue"
                " lines meet, the setting matters and that value is good.",
            ),
        ]
    return [*parts, element("h2", "All trials"), _trials(findings)]


def drawn(value: object) -> str:
    """A setting's value, short."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _trials(findings: Findings) -> Html:
    rows = sorted(findings.trials, key=lambda row: (row.state != "complete", -(row.accuracy or 0.0)))
    names = list(dict.fromkeys(name for row in rows for name in row.params))
    head = ("trial", "state", "accuracy", "epochs run", "minutes", *(name.replace("_", " ") for name in names))
    made = table(head, [_cells(row, names) for row in rows[:_MOST_ROWS]], words=(1,))
    left = len(rows) - _MOST_ROWS
    return made if left <= 0 else Html(made + element("p", f"... and {left} more, in {SUMMARY_NAME}.", "muted"))


def _cells(row: TrialRow, names: list[str]) -> tuple[object, ...]:
    return (
        row.number,
        f"{row.state}: {row.note}" if row.note else row.state,
        "-" if row.accuracy is None else f"{row.accuracy:.4f}",
        row.epochs,
        "-" if row.seconds is None else f"{row.seconds / 60:.1f}",
        *(drawn(row.params[name]) if name in row.params else "-" for name in names),
    )
