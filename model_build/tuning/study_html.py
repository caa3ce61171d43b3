"""``tuning.html``: what a study has learnt, as one page, with its two pictures as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from model_build.files import json_bytes, write_atomic
from model_build.html import charts
from model_build.html.charts import WIDTH, legend, svg
from model_build.html.elements import Html, element, figure, join, page, table, text, tiles, verdict_box
from model_build.training.run import TUNING_NAME
from model_build.tuning.space import Value
from model_build.tuning.studies import PAGE_NAME, StudyPlace
from model_build.tuning.study_summary import StudySummary, TrialRow

_MOST_ROWS = 50
_ROUGH_BELOW = 20
_LEADING_SHARE = 0.25
_WORTH = 0.005  # half a point: less is within what another seed makes of the same settings
STYLE = """
svg .dot { fill: var(--series1); } svg .given-up { fill: none; stroke: var(--muted); stroke-width: 1.5; }
svg .leader { fill: var(--series2); } svg .step { fill: none; stroke: var(--series2); stroke-width: 2; }
svg .axis { stroke: var(--muted); }
svg .way { fill: none; stroke: var(--muted); stroke-opacity: .35; }
svg .way.led { stroke: var(--series1); stroke-opacity: .8; }
svg .over { paint-order: stroke; stroke: var(--page); stroke-width: 4px; stroke-linejoin: round; }
.dense table { font-size: .8125rem; } .dense th, .dense td { padding-right: .7rem; }
.dense thead th { white-space: normal; vertical-align: bottom; }
svg .way.best { stroke: var(--series2); stroke-width: 3; stroke-opacity: 1; }
"""
_DOTS = {"dot": "completed", "given-up": "stopped early, at its best", "leader": "best"}


def write_pages(findings: StudySummary, place: StudyPlace, best_run: Path | None = None) -> None:
    """Replace ``tuning.json`` and ``tuning.html`` of the study's folder, each in one step.

    Args:
        best_run: the best trial's run folder, if it is on this machine.
    """
    place.folder.mkdir(parents=True, exist_ok=True)
    write_atomic(place.folder / TUNING_NAME, json_bytes(findings.to_document()))
    body = page(
        f"Tuning {findings.study}",
        [element("h1", f"Tuning: {findings.study}"), *section(findings, best_run)],
        style=STYLE,
    )
    write_atomic(place.folder / PAGE_NAME, body.encode())


def section(findings: StudySummary, best_run: Path | None = None) -> list[Html]:
    """The parts of the page below its title."""
    best = findings.best
    if best is None:
        return [
            verdict_box("stop", "There is no result: no trial has completed.", "Run the same command again."),
            _trials(findings),
        ]
    parts = [
        _verdict(findings, best, best_run),
        tiles(
            (
                (f"{best.accuracy or 0.0:.1%}", "best validation accuracy"),
                (best.number, "best trial"),
                (findings.count("complete"), "completed trials"),
                (findings.count("pruned"), "stopped early"),
                (findings.count("failed"), "failed"),
            )
        ),
        element("h2", "The best settings"),
        table(("setting", "value"), [(name, drawn(value)) for name, value in best.params.items()]),
        element("h2", "Progress"),
        figure(
            history(findings),
            "Accuracy on the validation photos, trial by trial. The test photos take no part in tuning. The best of "
            "many trials is slightly optimistic: judge the model on its test photos.",
        ),
    ]
    if findings.importance:
        complete = findings.count("complete")
        rough = f" With {complete} trials this is only a rough estimate." if complete < _ROUGH_BELOW else ""
        rows = [(name, (round(100 * share, 1),)) for name, share in findings.importance.items()]
        parts += [
            element("h2", "Which settings matter"),
            figure(
                charts.stacked_bars(rows, ("",), "Percent of the variance in accuracy by setting."),
                "Percent of the variance in accuracy that each setting explains by itself (functional ANOVA)." + rough,
            ),
        ]
    else:
        parts.append(element("p", "Too few complete trials to say which settings matter.", "muted"))
    if findings.count("complete") > 1:
        parts += [
            element("h2", "Settings and accuracy"),
            figure(
                parallel_coordinates(findings),
                "One line per completed trial: the best one is thick, the best quarter blue. Where the blue lines "
                "converge, the setting matters and that value works well.",
            ),
        ]
    return [*parts, element("h2", "All trials"), _trials(findings)]


def _verdict(findings: StudySummary, best: TrialRow, best_run: Path | None) -> Html:
    gain, reached = findings.gain, f"{best.accuracy or 0.0:.1%}"
    if gain is None:
        kind, head = (
            "note",
            f"Trial {best.number} is the best ({reached}); no trial with the defaults has completed.",
        )
    elif gain < _WORTH:
        kind = "note"
        head = f"Keep the defaults: tuning has gained {100 * gain:.1f} points over them, which may be chance."
    else:
        kind = "good"
        head = (
            f"Use the settings of trial {best.number}: {reached}, {100 * gain:.1f} points more than with the defaults."
        )
    train = f"bucketlens model train DATA --out runs/{findings.study} --best-of {findings.study}"
    convert = f"bucketlens model convert {best_run}" if best_run else train
    after = " converts its run; to train it anew: " if best_run else " trains with its settings."
    body = [element("code", convert), after, *([element("code", train)] if best_run else [])]
    return verdict_box(kind, head, join(map(text, body)))


def drawn(value: object) -> str:
    """A setting's value, short."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _trials(findings: StudySummary) -> Html:
    rows = sorted(findings.trials, key=lambda row: (row.state != "complete", -(row.accuracy or 0.0)))
    names = list(dict.fromkeys(name for row in rows for name in row.params))
    head = ("trial", "state", "accuracy", "epochs run", "minutes", *(name.replace("_", " ") for name in names))
    made = element("div", table(head, [_cells(row, names) for row in rows[:_MOST_ROWS]], words=(1,)), "dense")
    left = len(rows) - _MOST_ROWS
    return made if left <= 0 else Html(made + element("p", f"... and {left} more, in {TUNING_NAME}.", "muted"))


def _cells(row: TrialRow, names: list[str]) -> tuple[object, ...]:
    return (
        row.number,
        f"{row.state}: {row.note}" if row.note else row.state,
        "-" if row.accuracy is None else f"{row.accuracy:.4f}",
        row.epochs,
        "-" if row.seconds is None else f"{row.seconds / 60:.1f}",
        *(drawn(row.params[name]) if name in row.params else "-" for name in names),
    )


def history(findings: StudySummary) -> Html:
    """Validation accuracy by trial, with the best so far as a line."""
    rows = [row for row in findings.trials if row.accuracy is not None]
    left, right, top, tall = 60, 16, 34, 210
    bottom = top + tall
    scale = _accuracy_ticks([row.accuracy or 0.0 for row in rows])
    low, high = scale[0], scale[-1]
    across = (WIDTH - left - right) / max(1, len(rows))

    def x(index: float) -> float:
        return left + (index + 0.5) * across

    def y(accuracy: float) -> float:
        return bottom - (accuracy - low) / (high - low) * tall

    parts = [legend(tuple(_DOTS.values()), left, _dot)]
    for value in scale:
        parts.append(f'<line class="grid" x1="{left}" y1="{y(value):.1f}" x2="{WIDTH - right}" y2="{y(value):.1f}"/>')
        word = _percent(value, scale)
        parts.append(f'<text class="tick" x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{word}</text>')
    every = max(1, math.ceil(len(rows) / 20))
    best: float | None = None
    way: list[str] = []
    for index, row in enumerate(rows):
        accuracy = row.accuracy or 0.0
        if row.state == "complete" and (best is None or accuracy > best):
            if best is not None:
                way.append(f"{x(index):.1f},{y(best):.1f}")
            best = accuracy
        if best is not None:
            way.append(f"{x(index):.1f},{y(best):.1f}")
        if index % every == 0:
            parts.append(
                f'<text class="tick" x="{x(index):.1f}" y="{bottom + 18}" text-anchor="middle">{row.number}</text>'
            )
    parts.append(f'<polyline class="step" points="{" ".join(way)}"/>')
    for index, row in enumerate(rows):
        kind = "given-up" if row.state == "pruned" else "leader" if row == findings.best else "dot"
        parts.append(
            f'<circle class="{kind}" cx="{x(index):.1f}" cy="{y(row.accuracy or 0.0):.1f}" r="4.5">'
            f"<title>{text(_told(row))}</title></circle>"
        )
    parts.append(f'<text class="tick" x="{WIDTH - right}" y="{bottom + 36}" text-anchor="end">trial</text>')
    label = f"Validation accuracy of {len(rows)} trials; the best reached {best or 0.0:.4f}."
    return svg(parts, bottom + 44, label)


def parallel_coordinates(findings: StudySummary) -> Html:
    """A line a trial through an axis a setting, ending at its accuracy; the best quarter stands out."""
    rows = sorted((row for row in findings.trials if row.state == "complete"), key=lambda row: row.accuracy or 0.0)
    names = [name for name in (findings.best.params if findings.best else {}) if _varies(rows, name)]
    axes = [
        _Axis.of(name.replace("_", " "), [row.params[name] for row in rows], name in findings.logarithmic)
        for name in names
    ]
    accuracies = [row.accuracy or 0.0 for row in rows]
    axes.append(_Axis.of("accuracy", accuracies))
    # Words stand left of their axis: those of the first one need room, the names of backbones most.
    left = max(64, *(12 + 7 * len(word) for _, word in axes[0].words))
    right, top, tall = 70, 54, 270
    gap = (WIDTH - left - right) / max(1, len(axes) - 1)
    parts = []
    led = max(1, round(len(rows) * _LEADING_SHARE))
    for index, row in enumerate(rows):
        values = [row.params[name] for name in names] + [accuracies[index]]
        points = " ".join(
            f"{left + place * gap:.1f},{top + tall - axis.place(value) * tall:.1f}"
            for place, (axis, value) in enumerate(zip(axes, values, strict=True))
        )
        kind = " best" if row == findings.best else " led" if index >= len(rows) - led else ""
        parts.append(f'<polyline class="way{kind}" points="{points}"><title>{text(_told(row))}</title></polyline>')
    for place, axis in enumerate(axes):
        across = left + place * gap
        last = place == len(axes) - 1
        parts.append(f'<line class="axis" x1="{across:.1f}" y1="{top}" x2="{across:.1f}" y2="{top + tall}"/>')
        for line, word in enumerate(reversed(axis.name.split(" "))):
            parts.append(f'<text x="{across:.1f}" y="{top - 18 - 15 * line}" text-anchor="middle">{text(word)}</text>')
        for at, word in axis.words:
            side = 8 if last else -6
            anchor = "start" if last else "end"
            parts.append(
                f'<text class="tick over" x="{across + side:.1f}" y="{top + tall - at * tall + 4:.1f}"'
                f' text-anchor="{anchor}">{text(word)}</text>'
            )
    return svg(parts, top + tall + 16, "Settings of each trial and the accuracy it reached.")


@dataclass(frozen=True)
class _Axis:
    """A vertical axis: numbers by their size or its logarithm, words and few numbers by their order."""

    name: str
    low: float
    high: float
    log: bool
    order: tuple[Value, ...]
    words: tuple[tuple[float, str], ...]

    @classmethod
    def of(cls, name: str, values: Sequence[Value], log: bool = False) -> _Axis:
        distinct = sorted(set(values), key=lambda value: (isinstance(value, str), value))
        if isinstance(distinct[0], str) or len(distinct) <= 4:
            step = 1 / max(1, len(distinct) - 1)
            places = [index * step if len(distinct) > 1 else 0.5 for index in range(len(distinct))]
            words = zip(places, map(_axis_word, distinct), strict=True)
            return cls(name, 0, 0, False, tuple(distinct), tuple(words))
        low, high = float(distinct[0]), float(distinct[-1])
        ends = [low * (high / low) ** (one / 4) if log else low + (high - low) * one / 4 for one in range(5)]
        if all(isinstance(value, int) for value in distinct):
            ends = [round(end) for end in ends]
        made = cls(name, low, high, log, (), ())
        return replace(made, words=tuple((made.place(end), _axis_word(end)) for end in ends))

    def place(self, value: Value) -> float:
        """0 at the bottom to 1 at the top."""
        if self.order:
            return next(at for (at, _), one in zip(self.words, self.order, strict=True) if one == value)
        number = float(value)
        if self.log:
            return math.log(number / self.low) / math.log(self.high / self.low)
        return (number - self.low) / (self.high - self.low)


def _varies(rows: Sequence[TrialRow], name: str) -> bool:
    return all(name in row.params for row in rows) and len({row.params[name] for row in rows}) > 1


def _accuracy_ticks(values: Sequence[float]) -> list[float]:
    """Four to seven round steps around the values, within 0 to 1."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    step = next((one for one in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1) if (high - low) / one <= 5), 0.2)
    first = max(0, math.floor(low / step - 1e-9))
    last = min(round(1 / step), max(first + 1, math.ceil(high / step + 1e-9)))
    return [index * step for index in range(min(first, last - 1), last + 1)]


def _percent(value: float, scale: Sequence[float]) -> str:
    return f"{value:.1%}" if scale[1] - scale[0] < 0.0099 else f"{value:.0%}"


def _told(row: TrialRow) -> str:
    settings = ", ".join(f"{name} {_axis_word(value)}" for name, value in row.params.items())
    return f"trial {row.number}, {row.state}, {row.accuracy or 0.0:.4f}: {settings}"


def _axis_word(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _dot(position: int, x: float) -> str:
    return f'<circle class="{tuple(_DOTS)[position]}" cx="{x + 8}" cy="12" r="4.5"/>'
