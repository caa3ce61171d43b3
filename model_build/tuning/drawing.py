"""The two pictures of a study: how far it came, and which settings went with which accuracy. Inline SVG."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from model_build.report.html import Html, text
from model_build.tuning.findings import Findings, TrialRow
from model_build.tuning.space import Value

_WIDTH = 760
_LEADING_SHARE = 0.25

STYLE = """
svg .dot { fill: var(--series1); } svg .given-up { fill: none; stroke: var(--muted); stroke-width: 1.5; }
svg .leader { fill: var(--series2); } svg .step { fill: none; stroke: var(--series2); stroke-width: 2; }
svg .axis { stroke: var(--muted); }
svg .way { fill: none; stroke: var(--muted); stroke-opacity: .35; }
svg .way.led { stroke: var(--series1); stroke-opacity: .8; }
svg .over { paint-order: stroke; stroke: var(--page); stroke-width: 4px; stroke-linejoin: round; }
svg .way.best { stroke: var(--series2); stroke-width: 3; stroke-opacity: 1; }
"""


def history(findings: Findings) -> Html:
    """Validation accuracy by trial, with the best so far as a line."""
    rows = [row for row in findings.trials if row.accuracy is not None]
    left, right, top, tall = 60, 16, 34, 210
    bottom = top + tall
    scale = _accuracy_ticks([row.accuracy or 0.0 for row in rows])
    low, high = scale[0], scale[-1]
    across = (_WIDTH - left - right) / max(1, len(rows))

    def x(index: float) -> float:
        return left + (index + 0.5) * across

    def y(accuracy: float) -> float:
        return bottom - (accuracy - low) / (high - low) * tall

    parts = [_legend(left)]
    for value in scale:
        parts.append(f'<line class="grid" x1="{left}" y1="{y(value):.1f}" x2="{_WIDTH - right}" y2="{y(value):.1f}"/>')
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
    parts.append(f'<text class="tick" x="{_WIDTH - right}" y="{bottom + 36}" text-anchor="end">trial</text>')
    label = f"Validation accuracy of {len(rows)} trials; the best reached {best or 0.0:.4f}."
    return _svg(parts, bottom + 44, label)


def parallel_coordinates(findings: Findings) -> Html:
    """A line a trial through an axis a setting, ending at its accuracy; the best quarter stands out."""
    rows = sorted((row for row in findings.trials if row.state == "complete"), key=lambda row: row.accuracy or 0.0)
    names = [name for name in (findings.best.params if findings.best else {}) if _varies(rows, name)]
    axes = [
        _Axis.of(name.replace("_", " "), [row.params[name] for row in rows], name in findings.logarithmic)
        for name in names
    ]
    accuracies = [row.accuracy or 0.0 for row in rows]
    axes.append(_Axis.of("accuracy", accuracies))
    left, right, top, tall = 64, 70, 40, 270
    gap = (_WIDTH - left - right) / max(1, len(axes) - 1)
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
        parts.append(f'<text x="{across:.1f}" y="{top - 18}" text-anchor="middle">{text(axis.name)}</text>')
        for at, word in axis.words:
            side = 8 if last else -6
            anchor = "start" if last else "end"
            parts.append(
                f'<text class="tick over" x="{across + side:.1f}" y="{top + tall - at * tall + 4:.1f}"'
                f' text-anchor="{anchor}">{text(word)}</text>'
            )
    return _svg(parts, top + tall + 16, "Settings of each trial and the accuracy it reached.")


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
            words = zip(places, map(_short, distinct), strict=True)
            return cls(name, 0, 0, False, tuple(distinct), tuple(words))
        low, high = float(distinct[0]), float(distinct[-1])
        ends = [low * (high / low) ** (one / 4) if log else low + (high - low) * one / 4 for one in range(5)]
        if all(isinstance(value, int) for value in distinct):
            ends = [round(end) for end in ends]
        made = cls(name, low, high, log, (), ())
        return replace(made, words=tuple((made.place(end), _short(end)) for end in ends))

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
    settings = ", ".join(f"{name} {_short(value)}" for name, value in row.params.items())
    return f"trial {row.number}, {row.state}, {row.accuracy or 0.0:.4f}: {settings}"


def _short(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _legend(left: int) -> str:
    parts, across = [], left
    for kind, words in (("dot", "ran to its end"), ("given-up", "stopped early, at its best"), ("leader", "best")):
        parts.append(f'<circle class="{kind}" cx="{across + 6}" cy="12" r="4.5"/>')
        parts.append(f'<text x="{across + 16}" y="17">{words}</text>')
        across += 44 + 7 * len(words)
    return "".join(parts)


def _svg(parts: Sequence[str], height: float, label: str) -> Html:
    return Html(
        f'<svg role="img" aria-label="{html.escape(label)}" viewBox="0 0 {_WIDTH} {height:.0f}" width="{_WIDTH}">'
        f"{''.join(parts)}</svg>"
    )
