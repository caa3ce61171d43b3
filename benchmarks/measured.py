"""``python -m benchmarks.measured``: write ``bucketlens/measured.json`` from ``benchmarks/results.json``.

``bucketlens cost`` reads it, in a checkout and from the wheel. Run it after ``make bench``. It shows how long
invocations took beside what the model of :mod:`bucketlens.throughput` makes of their processor time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.subjects import FUNCTION, MIX, SIZES
from bucketlens.measured import FILE, MeasuredUsage
from bucketlens.throughput import MEGABYTES_PER_VCPU, invocation_seconds

RESULTS = Path(__file__).with_name("results.json")
_SMALL, _LARGE = 1, 100


def measured(results: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of the function among the benchmark's results.

    Batches of 1 and of 100 images tell what an image takes from what an invocation takes once.
    """
    cases = {
        (case["size"], case["mode"], case["images"]): case for case in results["cases"] if case["subject"] == FUNCTION
    }
    rows = []
    for stage in results["stages"]:
        if stage["subject"] != FUNCTION:
            continue
        size, mode = stage["size"], stage["mode"]
        few, many = (cases[size, mode, images] for images in (_SMALL, _LARGE))
        cpu, once = _split(median(few["cpu_ms"]), median(many["cpu_ms"]))
        logged, logged_once = _split(few["log_bytes"], many["log_bytes"])
        rows.append(
            {
                "size": size,
                "mode": mode,
                "cpu_ms": cpu,
                "worker_ms": round(sum(stage["stages_ms"][name] for name in ("decode", "predict")), 2),
                "invocation_cpu_ms": once,
                "log_bytes": logged,
                "invocation_log_bytes": logged_once,
            }
        )
    (start,) = (one for one in results["cold_starts"] if one["subject"] == FUNCTION)
    machine = results["machine"]
    return {
        "commit": results["commit"],
        "measured_at": results["measured_at"],
        "machine": f"{machine['processor']}, one core, Python {machine['Python']}",
        "model": results["model"],
        "start_cpu_ms": round(start["cpu_ms"]),
        "usage": rows,
    }


def _split(alone: float, each: float) -> tuple[float, float]:
    """What an image takes and what an invocation takes once, from the means an image of two batches."""
    once = max(0.0, (alone - each) / (1 / _SMALL - 1 / _LARGE))
    return round(each - once / _LARGE, 2), round(once, 2)


def modelled(results: Mapping[str, Any]) -> list[tuple[str, str, int, float, float]]:
    """Of each case: size, mode, images, and milliseconds of an invocation as measured and as modelled."""
    usage = MeasuredUsage.from_document(measured(results))
    found = []
    for case in results["cases"]:
        if case["subject"] == FUNCTION and case["size"] != MIX:
            width, height = SIZES[case["size"]]
            took = usage.of(width * height, case["mode"])
            seconds = invocation_seconds(took, case["images"], MEGABYTES_PER_VCPU, lines=case["mode"] == "jsonl")
            found.append((case["size"], case["mode"], case["images"], case["invocation_ms"]["p50"], 1000 * seconds))
    return found


def main() -> None:
    """Write the file and show the comparison."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    if len({case["size"] for case in results["cases"] if case["size"] != MIX}) < 2:
        sys.exit(f"error: {RESULTS} has photos of one size, and a line takes two: run `make bench`")
    FILE.write_text(json.dumps(measured(results), indent=1) + "\n", encoding="utf-8")
    table = Table("size", "mode", "images", "measured ms", "modelled ms", "ratio")
    for size, mode, images, took, model in modelled(results):
        table.add_row(size, mode, str(images), f"{took:,.0f}", f"{model:,.0f}", f"{model / took:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
