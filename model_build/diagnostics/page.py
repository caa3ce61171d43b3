"""A diagnosis for the report: one HTML fragment."""

from __future__ import annotations

from typing import Any

from model_build.diagnostics.heat_map import heat_map
from model_build.diagnostics.wording import evidence_line, number, step_time_line, summary_line
from model_build.report.html import Html, badge, element, figure, join, table, text

_KINDS = {"error": "stop", "warning": "fix", "note": "note", "silent": "good", "not observed": "note"}


def diagnosis_html(document: dict[str, Any]) -> Html:
    """What ``diagnostics.json`` holds, for a section of a page made with :func:`model_build.report.html.page`.

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
        "95 % of steps under, ms",
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
                "Mean absolute gradient: a row is a layer, from input to output; time goes to the right; each shade is "
                "a power of ten. Rows that fade towards the top are a vanishing gradient.",
            ),
            figure(
                heat_map(curves, "update_ratio", f"Update over weight of each layer up to step {last}"),
                "Size of an update over the size of the weights: about 0.001 is usual for a network that starts from "
                "nothing, less for one that is fine-tuned; 1 overwrites the layer.",
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
                f"Watching took {overhead['watching_seconds']:.2f} s, {overhead['share']:.2%} of that of the steps.",
                "muted small",
            ),
            Html("</details>"),
        ]
    )
