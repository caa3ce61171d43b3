"""What ``bucketlens cost`` takes from the benchmark's results."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.measured import measured, modelled
from bucketlens.measured import MeasuredUsage


def case(subject: str, images: int, cpu_ms: list[float], log_bytes: int) -> dict[str, Any]:
    return {
        "subject": subject,
        "mode": "image",
        "size": "640x480",
        "images": images,
        "cpu_ms": cpu_ms,
        "log_bytes": log_bytes,
        "invocation_ms": {"p50": 70.0},
    }


RESULTS: dict[str, Any] = {
    "commit": "abc1234",
    "measured_at": "2026-11-20T12:00:00Z",
    "machine": {"processor": "A processor", "Python": "3.13.1"},
    "model": "MobileNetV2",
    "cases": [
        # Each image takes 10 ms and 50 bytes, each invocation 4 ms and 1,000 bytes; one round was disturbed.
        case("bucketlens", 1, [14, 14, 90], 1050),
        case("bucketlens", 20, [10.2], 100),
        case("bucketlens", 100, [10.04, 10.04, 10.04], 60),
        case("baseline", 1, [99], 9),
        case("baseline", 100, [99], 9),
    ],
    "stages": [
        {"subject": "baseline", "mode": "image", "size": "640x480", "stages_ms": {"decode": 9, "predict": 9}},
        {
            "subject": "bucketlens",
            "mode": "image",
            "size": "640x480",
            "stages_ms": {"decode": 4, "predict": 3, "rest": 3},
        },
    ],
    "cold_starts": [{"subject": "baseline", "cpu_ms": 1}, {"subject": "bucketlens", "cpu_ms": 612.4}],
}


def test_what_an_image_takes_is_told_from_what_an_invocation_takes_once() -> None:
    document = measured(RESULTS)
    (row,) = document["usage"]
    assert row == {
        "size": "640x480",
        "mode": "image",
        "cpu_ms": pytest.approx(10),
        "worker_ms": 7,
        "invocation_cpu_ms": pytest.approx(4),
        "log_bytes": pytest.approx(50),
        "invocation_log_bytes": pytest.approx(1000),
    }
    assert document["start_cpu_ms"] == 612
    assert document["machine"] == "A processor, one core, Python 3.13.1"


def test_the_command_reads_what_is_written() -> None:
    read = MeasuredUsage.from_document(measured(RESULTS))
    assert read.commit == "abc1234"
    assert [pixels for pixels, _ in read.usage["image"]] == [640 * 480]


def test_noise_never_makes_an_invocation_cost_less_than_nothing() -> None:
    results = {**RESULTS, "cases": [{**one, "cpu_ms": [10.0], "log_bytes": 50} for one in RESULTS["cases"]]}
    (row,) = measured(results)["usage"]
    assert (row["cpu_ms"], row["invocation_cpu_ms"]) == (10, 0)


def test_the_model_stands_beside_what_was_measured() -> None:
    larger = {name: [{**one, "size": "1920x1440"} for one in RESULTS[name]] for name in ("cases", "stages")}
    found = modelled({**RESULTS, **{name: RESULTS[name] + rows for name, rows in larger.items()}})
    assert len(found) == 6
    assert [row[:4] for row in found[:3]] == [("640x480", "image", images, 70.0) for images in (1, 20, 100)]
    alone, _, many = (row[4] for row in found[:3])
    # 14 ms of processor time, and 53 ms for a GET, a PUT and a PutItem.
    assert alone == pytest.approx(67, abs=1)
    assert many == pytest.approx(53 + 4 + 100 * 11, rel=0.05)
