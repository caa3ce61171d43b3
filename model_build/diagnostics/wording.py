"""The sentences of a diagnosis that the terminal and the report share."""

from __future__ import annotations

from typing import Any


def number(value: float | int | str) -> str:
    """Four significant digits; words and truth values as they are."""
    if isinstance(value, str | bool):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def evidence_line(evidence: dict[str, float | int | str]) -> str:
    return "; ".join(f"{what}: {number(value)}" for what, value in evidence.items())


def summary_line(document: dict[str, Any]) -> str:
    """How many rules fired, which were silent, and which had nothing to look at."""
    rules = document["rules"]
    fired = sum(rule["finding"] is not None for rule in rules)
    silent = [rule["rule"] for rule in rules if rule["outcome"] == "silent"]
    unseen = [rule["rule"] for rule in rules if rule["outcome"] == "not observed"]
    line = f"{fired} of {len(rules)} rules fired" if fired else f"none of {len(rules)} rules fired"
    if silent:
        line += f"; silent: {', '.join(silent)}"
    if unseen:
        line += f"; nothing to look at: {', '.join(unseen)}"
    return line


def step_time_line(one: dict[str, Any]) -> str:
    return (
        f"{one['phase']}: {one['verdict']}, {one['images_per_second']:,.1f} images a second; a step waits "
        f"{one['wait_ms']:,.1f} ms for photos and computes {one['compute_ms']:,.1f} ms"
    )
