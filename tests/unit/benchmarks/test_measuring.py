"""What is made of the figures of a run, and that the function still has the seams they are read at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.harness import BUCKET, ROOT, HandlerFailed, Host, function, function_environment, sqs_event
from benchmarks.measuring import (
    Case,
    cases,
    cold_starts,
    growth,
    image_milliseconds,
    measure,
    medians,
    peak_memory,
    percentiles,
)
from benchmarks.report import targets
from benchmarks.simulator import Served, Simulator, simulator
from benchmarks.subjects import FUNCTION, IMAGE, LIMIT, MIX, PLAIN, SIZES, Material, Subject, key, photo_names
from tests.support.images import encoded, picture

BUNDLE = ROOT / "tests" / "fixtures" / "bundle"
HOSTED = ROOT / "benchmarks" / "hosted"


def jpeg() -> bytes:
    return encoded(picture(), "JPEG")


def served(operation: str, image: str, arrived: float, answered: float) -> Served:
    return Served(operation, image, arrived, answered)


def test_an_image_takes_from_its_request_to_the_answer_to_its_last_write() -> None:
    told = [
        served("GET", "incoming/a.jpg", 1.0, 1.02),
        served("GET", "incoming/b.jpg", 1.01, 1.02),
        served("PutItem", "incoming/a.jpg", 1.05, 1.06),
        served("PUT", "predictions/a.jpg.json", 1.07, 1.1),
        served("PutItem", "incoming/b.jpg", 1.2, 1.21),
        served("PUT", "predictions/dt=2026-11-20/101112-x.jsonl", 1.3, 1.4),
    ]
    assert image_milliseconds(told) == pytest.approx([100.0, 200.0])


@given(values=st.lists(st.floats(0, 1e6), min_size=1, max_size=300))
def test_percentiles_are_values_and_leave_their_share_above(values: list[float]) -> None:
    told = percentiles(values)
    assert {round(value, 1) for value in values} >= set(told.values())
    for share in (50, 99):
        above = sum(value > told[f"p{share}"] + 0.05 for value in values)
        assert above <= len(values) * (100 - share) / 100


def test_medians_are_taken_name_by_name() -> None:
    assert medians([{"a": 1.0, "b": 9.0}, {"a": 3.0, "b": 1.0}, {"a": 2.0, "b": 8.0}]) == {"a": 2.0, "b": 8.0}


def test_the_function_gets_every_batch_and_the_others_one() -> None:
    subjects = [Subject(FUNCTION, IMAGE), Subject(LIMIT), Subject(PLAIN)]
    assert [(case.subject.name, case.images, case.events) for case in cases(subjects, ["mix"], [1, 20, 100])] == [
        (FUNCTION, 1, 20),
        (FUNCTION, 20, 1),
        (FUNCTION, 100, 1),
        (LIMIT, 100, 1),
        (PLAIN, 20, 1),
    ]


@pytest.mark.parametrize("size", [*SIZES, MIX])
def test_a_batch_has_all_photos_of_its_size(size: str) -> None:
    names = photo_names(size, 100)
    assert len(names) == 100
    assert {name.rpartition("-")[0] for name in names} == ({size} if size != MIX else set(SIZES))
    assert len(set(names)) == (5 if size != MIX else 15)
    assert key(size, 7) == f"incoming/{size}/00007.jpg"


def case(subject: str, mode: str | None, cpu: Sequence[float], per_second: Sequence[float]) -> dict[str, object]:
    return {
        "subject": subject,
        "mode": mode,
        "size": "640x480",
        "images": 100,
        "cpu_ms": cpu,
        "images_per_second": per_second,
    }


def test_ratios_are_those_of_neighbours() -> None:
    # In the third round the machine was busy: it slowed all alike.
    document = {
        "cases": [
            case(FUNCTION, IMAGE, [12.0, 12.0, 24.0], [90.0, 90.0, 45.0]),
            case("baseline", IMAGE, [16.0, 16.0, 32.0], [60.0, 60.0, 30.0]),
            case(LIMIT, None, [10.0, 10.0, 20.0], [100.0, 100.0, 50.0]),
            case("baseline limit", None, [11.0, 11.0, 22.0], [91.0, 91.0, 45.0]),
            case(PLAIN, None, [30.0, 30.0, 60.0], [9.0, 9.0, 4.5]),
        ],
        "cold_starts": [{"subject": FUNCTION, "cpu_ms": 300.0}, {"subject": "baseline", "cpu_ms": 900.0}],
        "growth": {"cpu_ms": [[10, 12.0], [10_000, 12.3]], "memory_mb": [[0, 90.0], [250, 100.0], [10_000, 101.0]]},
    }
    assert dict(targets(document)) == {
        "640 x 480, a JSON file an image: CPU / bare limit": "1.20",
        "640 x 480, a JSON file an image: CPU / the baseline's bare limit": "1.09",
        "640 x 480, a JSON file an image: CPU / the baseline's": "0.75",
        "640 x 480, a JSON file an image: overhead / the baseline's (2.00 / 5.00 ms)": "0.40",
        "640 x 480: images per second / plain, LiteRT float32": "10.0",
        "CPU of a cold start / baseline": "0.33",
        "CPU an image, batches of 10,000 / of 10": "1.025",
        "memory after 10,000 invocations / after 250": "1.010",
    }


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["image", "jsonl"])
def test_stages_of_the_function_are_told_apart(mode: str) -> None:
    with simulator(scale=0.0) as storage:
        keys = [key("640x480", number) for number in range(5)]
        for one in keys:
            storage.put(BUCKET, one, jpeg())
        environment = function_environment(storage.url, f"file://{BUNDLE}/", OUTPUT_MODE=mode, PROFILE="1")
        with Host("stages", environment, [HOSTED, ROOT / "functions"], core=-1) as host:
            done = host.invoke(sqs_event(keys))
        told = storage.statement()
    assert done.answer["batchItemFailures"] == []
    assert told.items == len(keys)
    stages = done.answer["stages"]
    assert set(stages) == {"fetch", "decode", "predict", "dispatch", "record"}
    assert all(value > 0 for value in stages.values())
    assert sum(stages.values()) < done.cpu_seconds
    assert "tottime" in done.answer["profile"]


@pytest.mark.slow
def test_the_bare_limit_decodes_and_predicts(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    environment = {"BUNDLE": str(BUNDLE), "PHOTOS": str(tmp_path)}
    with Host("limit", environment, [HOSTED, ROOT / "functions"], core=-1) as host:
        done = host.invoke({"names": ["a.jpg"] * 3})
    assert 0 < sum(done.answer.values()) < done.cpu_seconds


class FixtureMaterial(Material):
    """The small model of the tests, which takes no time, in the function alone."""

    def __init__(self) -> None:
        """Without photos, networks and trees."""

    def start(self, subject: Subject, simulator: Simulator, *, stages: bool = False, profile: bool = False) -> Host:
        assert (subject.name, stages, profile) == (FUNCTION, False, False)
        environment = function_environment(simulator.url, f"file://{BUNDLE}/", OUTPUT_MODE=subject.mode)
        return function(ROOT, environment, core=-1)


@pytest.fixture(scope="module")
def storage() -> Iterator[Simulator]:
    with simulator(scale=0.01) as running:
        for number in range(250):
            running.put(BUCKET, key("640x480", number), jpeg())
        yield running


@pytest.mark.slow
def test_a_run_of_the_function(storage: Simulator) -> None:
    subjects, said = [Subject(FUNCTION, IMAGE), Subject(FUNCTION, "jsonl")], list[str]()
    wanted = cases(subjects, ["640x480"], [1, 20])
    found = measure(FixtureMaterial(), storage, wanted, 2, said.append)
    assert [(one["mode"], one["images"]) for one in found] == [("image", 1), ("image", 20), ("jsonl", 1), ("jsonl", 20)]
    for one in found:
        assert len(one["cpu_ms"]) == len(one["images_per_second"]) == 2
        assert min(*one["cpu_ms"], *one["images_per_second"], one["log_bytes"]) > 0
        for latency in (one["image_ms"], one["invocation_ms"]):
            assert 0 < latency["p50"] <= latency["p99"]
    assert any("round 2 of 2" in line for line in said)
    (start,) = cold_starts(FixtureMaterial(), storage, subjects[:1], 1, said.append)
    assert start["subject"] == FUNCTION
    assert start["cpu_ms"] > 0
    (peak,) = peak_memory(FixtureMaterial(), storage, subjects[:1], ["640x480"], said.append)
    assert 20 < peak["mb"] < 1000


@pytest.mark.slow
def test_growth(storage: Simulator) -> None:
    found = growth(FixtureMaterial(), storage, storage, [5, 20], 250, lambda _: None, images=20)
    assert [count for count, cpu in found["cpu_ms"] if cpu > 0] == [5, 20]
    assert [number for number, megabytes in found["memory_mb"] if megabytes > 20] == [0, 250]


@pytest.mark.slow
def test_an_image_that_is_not_there_is_no_measurement(storage: Simulator) -> None:
    missing = Case(Subject(FUNCTION, IMAGE), "4000x3000", 1)
    with pytest.raises(HandlerFailed, match=r"2 requests refused .*GET.*404"):
        measure(FixtureMaterial(), storage, [missing], 1, lambda _: None)
