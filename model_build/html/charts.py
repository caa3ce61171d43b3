"""Charts as inline SVG, drawn by hand: they take the page's colours, also in the dark, and need no library.

Every chart carries its message as a label for those who do not see it; the figures themselves belong into a table.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from model_build.html.elements import Html, text

WIDTH = 760
_LONGEST_LABEL = 26
_ROW = 24
_MOST_TICKS = 8
_BAR = 15


@dataclass(frozen=True)
class Mark:
    """A vertical line at ``at`` on a histogram's axis, with a word beside it."""

    at: float
    words: str


def ticks(highest: float, wanted: int = 5) -> list[float]:
    """Round numbers from 0 to at least ``highest`` in steps of 1, 2 or 5 times a power of ten."""
    if highest <= 0:
        return [0.0, 1.0]
    rough = highest / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [index * step for index in range(math.ceil(highest / step - 1e-9) + 1)]


def stacked_bars(rows: Sequence[tuple[str, Sequence[float]]], series: Sequence[str], label: str) -> Html:
    """One horizontal bar a row, made of one piece a series (at most four), with its sum at the end."""
    left, right = 190, 70
    scale = ticks(max((sum(values) for _, values in rows), default=0))
    top = 30 if len(series) > 1 else 6
    height = top + _ROW * len(rows) + 26
    per_unit = (WIDTH - left - right) / scale[-1]
    parts = [legend(series, left, _square)] if len(series) > 1 else []
    bottom = top + _ROW * len(rows)
    for value in scale:
        x = left + value * per_unit
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{value:,.10g}</text>')
    for index, (name, values) in enumerate(rows):
        y = top + _ROW * index
        x = float(left)
        parts.append(f'<text x="{left - 8}" y="{y + 16}" text-anchor="end">{text(short(name))}</text>')
        for position, (what, value) in enumerate(zip(series, values, strict=True)):
            if value:
                title = f"{name}, {what}: {value:,.10g}" if what else f"{name}: {value:,.10g}"
                parts.append(
                    f'<rect class="series{position % 4 + 1}" x="{x:.1f}" y="{y + (_ROW - _BAR) / 2:.1f}"'
                    f' width="{value * per_unit:.1f}" height="{_BAR}"><title>{text(title)}</title></rect>'
                )
            x += value * per_unit
        parts.append(f'<text x="{x + 6:.1f}" y="{y + 16}">{sum(values):,.10g}</text>')
    return svg(parts, height, label)


def histogram(
    edges: Sequence[float],
    counts: Sequence[int],
    label: str,
    *,
    edge_words: Sequence[str] | None = None,
    marks: Sequence[Mark] = (),
) -> Html:
    """Columns of equal width between ``edges`` (one more than ``counts``), whatever their distance.

    ``edge_words`` are written under the edges; an empty one leaves its edge bare.
    """
    left, right, top, tall = 56, 16, 24, 170
    scale = ticks(max(counts, default=0), 4)
    width = (WIDTH - left - right) / max(1, len(counts))
    bottom = top + tall
    parts = []
    for value in scale:
        y = bottom - value / scale[-1] * tall
        parts.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{WIDTH - right}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{value:,.10g}</text>')
    words = edge_words or [f"{edge:.4g}" for edge in edges]
    for index, count in enumerate(counts):
        tallness = count / scale[-1] * tall
        x = left + index * width
        title = f"{edges[index]:.4g} to {edges[index + 1]:.4g}: {count:,}"
        parts.append(
            f'<rect class="series1" x="{x + 0.5:.1f}" y="{bottom - tallness:.1f}" width="{width - 1:.1f}"'
            f' height="{tallness:.1f}"><title>{text(title)}</title></rect>'
        )
    for index, word in enumerate(words):
        if word:
            x = left + index * width
            parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{text(word)}</text>')
    for mark in marks:
        x = left + _position(mark.at, edges) * width
        anchor, shift = ("end", -5) if x > WIDTH * 0.7 else ("start", 5)
        parts.append(f'<line class="mark" x1="{x:.1f}" y1="8" x2="{x:.1f}" y2="{bottom}" stroke-dasharray="4 3"/>')
        parts.append(f'<text x="{x + shift:.1f}" y="17" text-anchor="{anchor}">{text(mark.words)}</text>')
    return svg(parts, bottom + 26, label)


def size_scatter(sizes: Sequence[tuple[int, int, int]], label: str) -> Html:
    """Widths against heights in pixels, both logarithmic: (width, height, count), the disc's area by the count."""
    left, right, top, side = 56, 16, 12, 330
    span = max(side, 1)
    low = max(1.0, min((min(width, height) for width, height, _ in sizes), default=1) / 1.3)
    high = max(low * 2, max((max(width, height) for width, height, _ in sizes), default=2) * 1.3)
    across = WIDTH - left - right
    most = max((count for *_, count in sizes), default=1)

    def place(value: float, length: float) -> float:
        return math.log(value / low) / math.log(high / low) * length

    bottom = top + span
    parts = []
    for value in _round_sizes(low, high):
        x, y = left + place(value, across), bottom - place(value, span)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{WIDTH - right}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{value:,}</text>')
        parts.append(f'<text class="tick" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{value:,}</text>')
    square = f'x1="{left}" y1="{bottom}" x2="{WIDTH - right}" y2="{top}"'
    parts.append(f'<line class="grid" {square} stroke-dasharray="4 3"/>')
    for width, height, count in sorted(sizes, key=lambda one: -one[2]):
        radius = 2.5 + 13 * math.sqrt(count / most)
        parts.append(
            f'<circle class="series1" fill-opacity="0.6" cx="{left + place(width, across):.1f}"'
            f' cy="{bottom - place(height, span):.1f}" r="{radius:.1f}"><title>{width} x {height}: {count:,}</title>'
            "</circle>"
        )
    return svg(parts, bottom + 26, label)


def _round_sizes(low: float, high: float) -> list[int]:
    """Round numbers of pixels between ``low`` and ``high``, as many as a logarithmic axis has room for."""
    for factors in (
        (10, 12, 15, 20, 25, 30, 40, 50, 60, 80),
        (10, 15, 20, 30, 40, 60, 80),
        (10, 20, 50),
        (10, 30),
        (10,),
    ):
        wanted = [factor * 10**power // 10 for power in range(6) for factor in factors]
        found = [value for value in wanted if low <= value <= high]
        if len(found) <= _MOST_TICKS:
            return found
    return found


def _position(value: float, edges: Sequence[float]) -> float:
    """Where ``value`` lies among ``edges``, in columns."""
    for index in range(len(edges) - 1):
        if value < edges[index + 1]:
            return index + max(0.0, (value - edges[index]) / (edges[index + 1] - edges[index]))
    return float(len(edges) - 1)


def legend(names: Sequence[str], left: float, symbol: Callable[[int, float], str]) -> str:
    """Names side by side, each behind its ``symbol``, made from its position and x: at most 18 wide, around y 12."""
    parts, x = [], left
    for position, name in enumerate(names):
        parts.append(f'{symbol(position, x)}<text x="{x + 24}" y="17">{text(name)}</text>')
        x += 44 + 8 * len(name)
    return "".join(parts)


def _square(position: int, x: float) -> str:
    return f'<rect class="series{position % 4 + 1}" x="{x}" y="6" width="12" height="12" rx="2"/>'


def short(name: str, longest: int = _LONGEST_LABEL) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}\u2026"


def svg(parts: Sequence[str], height: float, label: str, width: float = WIDTH) -> Html:
    """A picture of that size in pixels; ``label`` says in words what it shows."""
    return Html(
        f'<svg role="img" aria-label="{html.escape(label)}" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}">'
        f"{''.join(parts)}</svg>"
    )
