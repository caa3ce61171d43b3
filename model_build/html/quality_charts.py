"""Charts of a model's quality as inline SVG: training curves, reliability, confusion. In the style of ``charts``."""

from __future__ import annotations

from collections.abc import Sequence

from model_build.html.charts import WIDTH, legend, short, svg, ticks
from model_build.html.elements import Html, text
from model_build.metrics.calibration import Calibration
from model_build.metrics.scores import Scores
from model_build.metrics.threshold import Curve

STYLE = """
svg .line { fill: none; stroke-width: 2; } svg .line1 { stroke: var(--series1); } svg .line2 { stroke: var(--series2); }
svg .line3 { stroke: var(--series3); } svg .gap { fill: var(--stop); fill-opacity: .22; }
svg .cell { fill: var(--series1); } svg .wrong { fill: var(--stop); } svg .small { font-size: 11px; }
svg .dark { fill: #ffffff; }
"""
MOST_LABELS = 40
"""A confusion matrix of more has cells too small to read."""
_LONGEST_LABEL = 22


def curves(series: Sequence[tuple[str, Sequence[float]]], label: str, *, best: int | None = None) -> Html:
    """Lines over epochs 1, 2, ...; at most three. ``best`` marks one epoch."""
    left, right, top, tall = 56, 16, 30, 190
    values = [value for _, line in series for value in line]
    count = max(len(line) for _, line in series)
    scale = ticks(max(values, default=1.0), 4)
    bottom = top + tall

    def x(epoch: float) -> float:
        return left + (epoch - 1) / max(1, count - 1) * (WIDTH - left - right)

    def y(value: float) -> float:
        return bottom - value / scale[-1] * tall

    parts = [legend([name for name, _ in series], left, _dash)]
    for value in scale:
        parts.append(f'<line class="grid" x1="{left}" y1="{y(value):.1f}" x2="{WIDTH - right}" y2="{y(value):.1f}"/>')
        parts.append(f'<text class="tick" x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.4g}</text>')
    for epoch in sorted({1, count, *(round(step) for step in ticks(count, 8) if 1 < step < count * 0.96)}):
        anchor = "middle" if epoch < count else "end"
        parts.append(f'<text class="tick" x="{x(epoch):.1f}" y="{bottom + 17}" text-anchor="{anchor}">{epoch}</text>')
    if best is not None:
        parts.append(
            f'<line class="mark" x1="{x(best):.1f}" y1="{top}" x2="{x(best):.1f}" y2="{bottom}"'
            ' stroke-dasharray="4 3"/>'
        )
    for number, (name, line) in enumerate(series, start=1):
        points = " ".join(f"{x(epoch):.1f},{y(value):.1f}" for epoch, value in enumerate(line, start=1))
        parts.append(f'<polyline class="line line{number}" points="{points}"><title>{text(name)}</title></polyline>')
    return svg(parts, bottom + 26, label)


def reliability(calibration: Calibration, label: str, *, threshold: float | None = None) -> Html:
    """Accuracy by confidence: bars are what came true, the red part is how far that is from what was claimed."""
    left, top, side = 48, 12, 300
    bottom = top + side
    parts = []
    for step in range(6):
        share = step / 5
        place, level = left + share * side, bottom - share * side
        parts.append(f'<line class="grid" x1="{left}" y1="{level}" x2="{left + side}" y2="{level}"/>')
        parts.append(f'<text class="tick" x="{left - 8}" y="{level + 4}" text-anchor="end">{share:.0%}</text>')
        parts.append(f'<text class="tick" x="{place}" y="{bottom + 17}" text-anchor="middle">{share:.0%}</text>')
    most = max((one.photos for one in calibration.bins), default=0) or 1
    for one in calibration.bins:
        if one.accuracy is None or one.confidence is None:
            continue
        x, width = left + one.low * side, (one.high - one.low) * side
        lower, upper = sorted((one.accuracy, one.confidence))
        # The fuller the bin, the stronger the bar: a bin of two photos says little.
        strength = 0.35 + 0.65 * one.photos / most
        told = f"{one.photos} photos, confidence {one.confidence:.1%}, right {one.accuracy:.1%}"
        parts.append(
            f'<g><title>{told}</title><rect class="cell" fill-opacity="{strength:.2f}" x="{x + 0.5:.1f}"'
            f' y="{bottom - one.accuracy * side:.1f}" width="{width - 1:.1f}" height="{one.accuracy * side:.1f}"/>'
            f'<rect class="gap" x="{x + 0.5:.1f}" y="{bottom - upper * side:.1f}" width="{width - 1:.1f}"'
            f' height="{(upper - lower) * side:.1f}"/></g>'
        )
    parts.append(f'<line class="mark" x1="{left}" y1="{bottom}" x2="{left + side}" y2="{top}" stroke-dasharray="4 3"/>')
    if threshold is not None and 0 < threshold < 1:
        place = left + threshold * side
        parts.append(f'<line class="mark" x1="{place:.1f}" y1="{top}" x2="{place:.1f}" y2="{bottom}"/>')
        anchor, shift = ("end", -5) if threshold > 0.5 else ("start", 5)
        parts.append(f'<text class="small" x="{place + shift:.1f}" y="{top + 12}" text-anchor="{anchor}">review</text>')
    return svg(parts, bottom + 26, label, left + side + 24)


def risk_coverage(series: Sequence[tuple[str, Curve]], *, accepted: float | None = None) -> Html:
    """Risk over coverage, a step for each point; at most three lines. ``accepted`` marks a coverage."""
    left, right, top, tall = 56, 16, 30, 190
    scale = ticks(max((risk for _, curve in series for _, risk in curve), default=0.0) or 0.01, 4)
    bottom, wide = top + tall, WIDTH - left - right
    parts = [legend([name for name, _ in series], left, _dash)]
    for value in scale:
        y = bottom - value / scale[-1] * tall
        parts.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{WIDTH - right}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for step in range(6):
        x = left + step / 5 * wide
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{step / 5:.0%}</text>')
    if accepted:
        x = left + accepted * wide
        anchor, shift = ("end", -5) if accepted > 0.5 else ("start", 5)
        parts.append(f'<line class="mark" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}" stroke-dasharray="4 3"/>')
        parts.append(f'<text class="small" x="{x + shift:.1f}" y="{top + 12}" text-anchor="{anchor}">accepted</text>')
    for number, (name, curve) in enumerate(series, start=1):
        points = " ".join(
            f"{left + coverage * wide:.1f},{bottom - risk / scale[-1] * tall:.1f}" for coverage, risk in curve
        )
        parts.append(f'<polyline class="line line{number}" points="{points}"><title>{text(name)}</title></polyline>')
    return svg(parts, bottom + 26, "Share of accepted predictions that are wrong, by share of photos accepted")


def confusion(scores: Scores) -> Html:
    """Rows true, columns predicted; shaded by the share of the true class, mistakes in red. At most 40 labels."""
    labels = [short(label, _LONGEST_LABEL) for label in scores.labels]
    longest = max(len(label) for label in labels)
    left = 20 + 7.2 * longest
    cell = min(52.0, max(17.0, (WIDTH - left - 10) / len(labels)))
    top = 10.0
    bottom = top + cell * len(labels)
    turned = max(len(label) for label in labels) * 7.2 > cell * 0.95
    parts = []
    for row, counts in enumerate(scores.confusion):
        total = sum(counts)
        y = top + row * cell
        parts.append(
            f'<text x="{left - 8:.1f}" y="{y + cell / 2 + 4:.1f}" text-anchor="end">{text(labels[row])}</text>'
        )
        for column, count in enumerate(counts):
            x = left + column * cell
            share = count / total if total else 0.0
            kind = "cell" if row == column else "wrong"
            # Even one photo is visible.
            opacity = 0.05 if not count else 0.15 + 0.8 * share
            told = f"{scores.labels[row]} predicted as {scores.labels[column]}: {count} of {total}"
            parts.append(
                f'<rect class="{kind}" fill-opacity="{opacity if count else 0.04:.2f}" x="{x + 0.5:.1f}"'
                f' y="{y + 0.5:.1f}" width="{cell - 1:.1f}" height="{cell - 1:.1f}"><title>{text(told)}</title></rect>'
            )
            if count:
                shade = " dark" if opacity > 0.6 else ""
                parts.append(
                    f'<text class="small{shade}" x="{x + cell / 2:.1f}" y="{y + cell / 2 + 4:.1f}"'
                    f' text-anchor="middle">{count}</text>'
                )
    height = bottom
    for column, label in enumerate(labels):
        x = left + (column + 0.5) * cell
        if turned:
            parts.append(
                f'<text x="{x + 4:.1f}" y="{bottom + 10:.1f}" text-anchor="end"'
                f' transform="rotate(-50 {x + 4:.1f} {bottom + 10:.1f})">{text(label)}</text>'
            )
        else:
            parts.append(f'<text x="{x:.1f}" y="{bottom + 17:.1f}" text-anchor="middle">{text(label)}</text>')
    height += 20 + (5.8 * longest if turned else 6)
    return svg(
        parts, height, "Confusion matrix: rows true, columns predicted", max(left + cell * len(labels) + 10, 320)
    )


def _dash(position: int, x: float) -> str:
    return f'<rect class="series{position + 1}" x="{x}" y="10" width="18" height="4" rx="2"/>'
