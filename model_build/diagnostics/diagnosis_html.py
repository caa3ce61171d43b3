"""A diagnosis for the report: one HTML fragment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from model_build.diagnostics.diagnosis import evidence_line, number, step_time_line, summary_line
from model_build.html.charts import WIDTH, svg
from model_build.html.elements import Html, badge, element, figure, join, table, text

_KINDS = {"error": "stop", "warning": "fix", "note": "note", "silent": "good", "not observed": "note"}
_LEFT, _RIGHT, _TOP = 190, 8, 8
_ROW = 14
_LONGEST_NAME = 26
_MOST_SHADES = 8


def diagnosis_html(document: dict[str, Any]) -> Html:
    """``diagnostics`` of ``run.json``, for a section of a page made with :func:`model_build.html.elements.page`.

    Findings with their evidence, meaning and advice; where the time of a step went; the course of gradients and updates
    by layer; and every rule with its parameters and source, folded away.
    """
    fired = [rule["finding"] for rule in document["rules"] if rule["finding"] is not None]
    return join(
        [
            element("p", summary_line(document)),
            *(_finding(finding) for finding in fired),
            _step_times(document["step_times"]),
            _curves(document["curves"]),
            _rules(document),
        ]
    )


def _finding(finding: dict[str, Any]) -> Html:
    since = f" since {finding['since']}" if finding["since"] else ""
    head = join([badge(finding["severity"], _KINDS[finding["severity"]]), text(f" {finding['rule']}{since}")])
    return join(
        [
            element("h3", head),
            element("p", finding["meaning"]),
            element("p", join([element("strong", "What to do. "), text(finding["advice"])])),
            element("p", evidence_line(finding["evidence"]), "muted small"),
        ]
    )


def _step_times(rows: list[dict[str, Any]]) -> Html:
    if not rows:
        return Html("")
    head = (
        "phase",
        "verdict",
        "images/s",
        "wait, ms",
        "compute, ms",
        "p95, ms",
        "share waiting",
        "slow steps",
        "first 2 steps, s",
    )
    lines = [
        (
            one["phase"],
            one["verdict"],
            f"{one['images_per_second']:,.1f}",
            f"{one['wait_ms']:,.1f}",
            f"{one['compute_ms']:,.1f}",
            f"{one['p95_ms']:,.1f}",
            f"{one['input_share']:.1%}",
            f"{one['outliers']} of {one['steps']}",
            f"{one['start_seconds']:.1f}",
        )
        for one in rows
    ]
    return join(
        [
            element("h3", "Where the time of a step goes"),
            *(element("p", step_time_line(one)) for one in rows),
            table(head, lines, words=(0, 1)),
        ]
    )


def _curves(curves: dict[str, Any]) -> Html:
    if not curves:
        return Html("")
    last = curves["steps"][-1]
    return join(
        [
            element("h3", "Gradients and updates by layer"),
            figure(
                heat_map(curves, "gradient", f"Mean absolute gradient of each layer up to step {last}"),
                "Mean absolute gradient: one row per layer, the input at the top; training steps run to the right; "
                "each shade is a power of ten. Rows that fade towards the top are a vanishing gradient.",
            ),
            figure(
                heat_map(curves, "update_ratio", f"Update-to-weight ratio of each layer up to step {last}"),
                "Update-to-weight ratio: about 0.001 is usual when training from scratch, less when fine-tuning; 1 "
                "overwrites the layer.",
            ),
        ]
    )


def _rules(document: dict[str, Any]) -> Html:
    lines = [
        (
            rule["rule"],
            badge(rule["outcome"], _KINDS[rule["outcome"]]),
            ", ".join(f"{name} = {number(value)}" for name, value in rule["parameters"].items()),
            Html(f'<a href="{text(rule["published"])}">{text(rule["published"].rsplit("/", 1)[-1])}</a>'),
        )
        for rule in document["rules"]
    ]
    overhead = document["overhead"]
    return join(
        [
            Html("<details><summary>All rules, their parameters and where they are published</summary>"),
            table(("rule", "outcome", "parameters", "published as"), lines, words=(0, 1, 2, 3)),
            element(
                "p",
                f"These measurements took {overhead['watching_seconds']:.2f} s, {overhead['share']:.2%} of the time of "
                "the steps.",
                "muted small",
            ),
            Html("</details>"),
        ]
    )


def heat_map(curves: dict[str, Any], what: str, label: str) -> Html:
    """``curves[what]`` of :func:`model_build.diagnostics.observer.layer_curves`, with a legend of its shades.

    A number that is 0 has a shade below all others, one that is missing none.
    """
    rows: list[list[float | None]] = curves[what]
    powers = [math.floor(math.log10(value)) for row in rows for value in row if value]
    highest = max(powers, default=0)
    lowest = max(min(powers, default=0), highest - _MOST_SHADES + 1)
    steps: list[int] = curves["steps"]
    width = (WIDTH - _LEFT - _RIGHT) / len(steps)
    parts = []
    for index, (layer, row) in enumerate(zip(curves["layers"], rows, strict=True)):
        y = _TOP + index * _ROW
        known = [value for value in row if value is not None]
        title = f"{layer}: {number(min(known))} to {number(max(known))}" if known else f"{layer}: no finite values"
        parts.append(f"<g><title>{text(title)}</title>")
        parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{y + 11}" text-anchor="end">{text(_tail(layer))}</text>')
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
    parts.append(f'<text class="tick" x="{WIDTH - _RIGHT}" y="{bottom + 16}" text-anchor="end">{steps[-1]:,}</text>')
    parts += _legend(lowest, highest, bottom + 26)
    return svg(parts, bottom + 50, label)


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


def _tail(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"\u2026{name[1 - _LONGEST_NAME :]}"
