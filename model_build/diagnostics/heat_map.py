"""Layers over time as an inline SVG: a row a layer, a column a sampled step, a shade a power of ten."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from model_build.diagnostics.wording import number
from model_build.report.html import Html, text

_WIDTH, _LEFT, _RIGHT, _TOP = 760, 190, 8, 8
_ROW = 14
_LONGEST_NAME = 26
_MOST_SHADES = 8


def heat_map(curves: dict[str, Any], what: str, label: str) -> Html:
    """``curves[what]`` of :func:`model_build.diagnostics.curves.layer_curves`, with a legend of its shades.

    A number that is 0 has a shade below all others, one that is missing none.
    """
    rows: list[list[float | None]] = curves[what]
    powers = [math.floor(math.log10(value)) for row in rows for value in row if value]
    highest = max(powers, default=0)
    lowest = max(min(powers, default=0), highest - _MOST_SHADES + 1)
    steps: list[int] = curves["steps"]
    width = (_WIDTH - _LEFT - _RIGHT) / len(steps)
    parts = []
    for index, (layer, row) in enumerate(zip(curves["layers"], rows, strict=True)):
        y = _TOP + index * _ROW
        known = [value for value in row if value is not None]
        title = f"{layer}: {number(min(known))} to {number(max(known))}" if known else f"{layer}: nothing finite"
        parts.append(f"<g><title>{text(title)}</title>")
        parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{y + 11}" text-anchor="end">{text(_short(layer))}</text>')
        shades = [_shade(value, lowest, highest) for value in row]
        column = 0
        # One rectangle for neighbours of one shade: a tenth of the page's bytes.
        for shade, same in groupby(shades):
            span = len(list(same))
            if shade is not None:
                parts.append(_cell(_LEFT + column * width, y, span * width, shade))
            column += span
        parts.append("</g>")
    bottom = _TOP + len(rows) * _ROW
    parts.append(f'<text class="tick" x="{_LEFT}" y="{bottom + 16}">step {steps[0]:,}</text>')
    parts.append(f'<text class="tick" x="{_WIDTH - _RIGHT}" y="{bottom + 16}" text-anchor="end">{steps[-1]:,}</text>')
    parts += _legend(lowest, highest, bottom + 26)
    return Html(
        f'<svg role="img" aria-label="{html.escape(label)}" viewBox="0 0 {_WIDTH} {bottom + 50}" width="{_WIDTH}">'
        f"{''.join(parts)}</svg>"
    )


def _shade(value: float | None, lowest: int, highest: int) -> float | None:
    """Opacity from 0.1 to 1, rounded so that neighbours join; None for what is missing."""
    if value is None:
        return None
    return _opacity(max(math.floor(math.log10(value)), lowest) if value > 0 else lowest - 1, lowest, highest)


def _opacity(power: int, lowest: int, highest: int) -> float:
    return round(0.1 + 0.9 * (power - lowest + 1) / (highest - lowest + 1), 2)


def _cell(x: float, y: float, width: float, shade: float) -> str:
    return f'<rect class="series1" fill-opacity="{shade}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_ROW - 1}"/>'


def _legend(lowest: int, highest: int, y: float) -> Sequence[str]:
    parts = []
    for index, power in enumerate(range(lowest, highest + 1)):
        x = _LEFT + index * 68
        parts.append(_cell(x, y, 13, _opacity(power, lowest, highest)))
        parts.append(f'<text class="tick" x="{x + 18}" y="{y + 11}">1e{power}</text>')
    return parts


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"\u2026{name[1 - _LONGEST_NAME :]}"
