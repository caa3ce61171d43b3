"""The README's table is what the committed figures make, and the page shows every one of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.__main__ import README, RESULTS
from benchmarks.report import BEGIN, END, into_readme, readme_table, render

LATENCY = {"p50": 61.0, "p99": 95.5}
STAGES = {"fetch": 0.41, "decode": 1.63, "predict": 3.3, "dispatch": 0.21, "record": 0.97, "rest": 0.52}


def case(subject: str, mode: str | None, size: str, images: int, cpu: float) -> dict[str, Any]:
    own = {"stages_ms": STAGES} if subject == "limit" else {"image_ms": LATENCY, "log_bytes": 308}
    return {
        "subject": subject,
        "mode": mode,
        "size": size,
        "images": images,
        "cpu_ms": [cpu, cpu + 0.5, cpu + 1],
        "images_per_second": [900 / cpu, 1000 / cpu, 1100 / cpu],
        "invocation_ms": LATENCY,
        **own,
    }


@pytest.fixture
def document() -> dict[str, Any]:
    subjects = [("bucketlens", "image"), ("bucketlens", "jsonl"), ("limit", None), ("plain", None), ("keras", None)]
    sizes = ["640x480", "4000x3000", "mix"]
    return {
        "schema_version": 1,
        "commit": "1234567",
        "measured_at": "2026-11-20T12:00:00Z",
        "baseline": None,
        "machine": {"processor": "<Processor> & Co", "cores": "2"},
        "model": "MobileNetV2",
        "photos": dict.fromkeys(sizes, 78_000),
        "storage": "GET 20 ms",
        "rounds": 3,
        "cases": [
            case(subject, mode, size, images, 10.0 * (1 + position) * (1 + number))
            for number, size in enumerate(sizes)
            for position, (subject, mode) in enumerate(subjects)
            for images in ((1, 100) if mode else (20,))
        ],
        "stages": [{"subject": "bucketlens", "mode": "image", "size": "640x480", "stages_ms": STAGES}],
        "cold_starts": [
            {"subject": "bucketlens", "cpu_ms": 312.4, "wall_ms": 400.0},
            {"subject": "keras", "cpu_ms": 4012.0, "wall_ms": 5000.0},
        ],
        "peak_memory": [{"subject": "bucketlens", "size": "4000x3000", "mb": 187}],
        "packages": [{"name": "zip package", "mb": 102, "cpu_ms": 310}],
        "growth": {
            "commit": "1234567",
            "measured_at": "2026-11-20T13:00:00Z",
            "size": "640x480",
            "cpu_ms": [[10, 12.4], [10_000, 12.1]],
            "memory_mb": [[0, 101.2], [250, 103.1], [10_000, 103.4]],
        },
    }


def test_the_readme_shows_the_committed_figures() -> None:
    text = README.read_text(encoding="utf-8")
    document = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert into_readme(text, document) == text
    assert readme_table(document) in text


def test_the_table(document: dict[str, Any]) -> None:
    lines = readme_table(document).splitlines()
    assert lines[0] == (
        "| | Bucketlens | Bucketlens, JSON Lines | decode and predict only"
        " | plain, LiteRT float32 | plain, Keras predict |"
    )
    assert lines[2] == "| JPEG, 640 x 480 | 100/s, 10.5 ms | 50/s, 20.5 ms | 30.5 ms | 25/s, 40.5 ms | 20/s, 50.5 ms |"
    assert lines[4].startswith("| JPEG, all three sizes | 33/s, 30.5 ms |")
    assert lines[5] == "| cold start, CPU | 312 ms | | | | 4,012 ms |"
    assert lines[6] == "| peak memory, 4000 x 3000 | 187 MB | | | | |"
    assert len(lines) == 7


def test_the_table_takes_the_place_of_the_one_before(document: dict[str, Any]) -> None:
    text = f"# A\n\n{BEGIN}\n| old |\n{END}\n\nrest\n"
    first = into_readme(text, document)
    assert first == f"# A\n\n{BEGIN}\n{readme_table(document)}{END}\n\nrest\n"
    assert into_readme(first, document) == first
    with pytest.raises(ValueError, match="figures of make bench"):
        into_readme("# A\n", document)


def test_the_page_shows_every_case_and_stage(document: dict[str, Any]) -> None:
    html = render(document)
    assert "&lt;Processor&gt; &amp; Co" in html
    assert "<Processor>" not in html
    for words in ("640 x 480", "4000 x 3000", "all three sizes", "plain, Keras predict", "103.4", "10,000 images"):
        assert words in html
    assert html.count("<tr><td>") >= len(document["cases"]) + len(document["stages"])
    for stage, value in STAGES.items():
        assert f">{stage}<" in html
        assert f"{value:.2f}" in html


def test_a_page_without_growth_and_with_a_baseline(document: dict[str, Any]) -> None:
    del document["growth"]
    document["baseline"] = "v0.1.0 (7654321)"
    document["cases"] += [
        case("baseline", "image", "640x480", 100, 15.0),
        case("baseline limit", None, "640x480", 100, 9),
    ]
    html = render(document)
    assert "Growth" not in html
    assert "v0.1.0 (7654321)" in html
    assert "overhead / the baseline" in html
