"""The closed model of time, against a simulation that shares no formula with it, and against what is documented."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bucketlens import throughput
from bucketlens.measured import MeasuredUsage, Usage
from bucketlens.throughput import MEGABYTES_PER_VCPU, Forecast, Job, invocation_seconds
from classifier.bundle import ModelUri
from classifier.imaging import Limits
from classifier.pipeline import IN_FLIGHT
from classifier.settings import ServingSettings
from tests.template.document import read_source
from tests.unit.bucketlens import queueing

USAGE = Usage(cpu_ms=10, worker_ms=7, invocation_cpu_ms=2, log_bytes=50, invocation_log_bytes=1000)
MILLION = 1_000_000
# Of the model. Two vCPUs are two servers, where it has one that is twice as fast.
TOLERANCE, TOLERANCE_OF_TWO = 0.08, 0.12
TOLERANCE_OF_STORAGE = 0.02


def simulated(usage: Usage, images: int, memory: int, *, lines: bool, seed: int = 0, times: int = 1) -> list[float]:
    main, worker, once = (usage.cpu_ms - usage.worker_ms, usage.worker_ms, usage.invocation_cpu_ms)
    rng = random.Random(seed)
    vcpus = memory / MEGABYTES_PER_VCPU
    return [
        queueing.invocation(images, main / 1000, worker / 1000, once / 1000, vcpus, lines=lines, rng=rng)
        for _ in range(times)
    ]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("memory", [512, 1024, MEGABYTES_PER_VCPU, 2 * MEGABYTES_PER_VCPU])
@pytest.mark.parametrize("cpu_ms", [4.0, 8.0, 15.0, 45.0])
@pytest.mark.parametrize("images", [1, 20, 100, 1000])
def test_an_invocation_takes_as_long_as_in_the_simulation(images: int, cpu_ms: float, memory: int, lines: bool) -> None:
    usage = replace(USAGE, cpu_ms=cpu_ms, worker_ms=cpu_ms * 0.7)
    found = mean(simulated(usage, images, memory, lines=lines, times=max(2, 400 // images)))
    tolerance = TOLERANCE if memory <= MEGABYTES_PER_VCPU else TOLERANCE_OF_TWO
    assert invocation_seconds(usage, images, memory, lines=lines) == pytest.approx(found, rel=tolerance)


def check_against_the_simulation(forecast: Forecast) -> None:
    """A job whose invocations are those of the simulation. What storage takes a second is given to both."""
    job = forecast.job
    played = simulated(forecast.usage, job.batch, job.memory, lines=job.is_lines, times=max(2, 2000 // job.batch))
    storage = min(one.images_per_second for one in forecast.limits if not one.name.startswith("Lambda"))
    seconds = queueing.job(forecast.invocations, job.batch, job.concurrency, played, forecast.start_seconds, storage)
    bound_by_functions = forecast.limits[0].images_per_second < storage
    tolerance = TOLERANCE if bound_by_functions else TOLERANCE_OF_STORAGE
    # The model is a fluid, and ends in the middle of the last batches.
    assert abs(forecast.seconds - seconds) <= tolerance * seconds + max(played)


@pytest.mark.parametrize(
    "job",
    [
        Job(MILLION),
        Job(MILLION, mode="jsonl", batch=100, concurrency=1000),
        Job(MILLION, memory=512, concurrency=200),
        Job(100 * MILLION, batch=200),
        Job(100 * MILLION, mode="jsonl", batch=1000, concurrency=1000, prefixes=10, table_writes=40_000),
        Job(100 * MILLION, batch=500, concurrency=1000, attention=0.5, largest_label=0.9, write_units=2),
    ],
    ids=str,
)
def test_a_job_takes_as_long_as_in_the_simulation(job: Job) -> None:
    check_against_the_simulation(Forecast(job, USAGE, start_seconds=1.0))


@settings(max_examples=40)
@given(
    job=st.builds(
        Job,
        images=st.just(MILLION),
        mode=st.sampled_from(["image", "jsonl"]),
        memory=st.integers(512, MEGABYTES_PER_VCPU),
        batch=st.integers(50, 1000),
        concurrency=st.integers(2, 1000),
        attention=st.floats(0, 1),
        largest_label=st.floats(0.01, 1),
        prefixes=st.integers(1, 20),
        table_writes=st.integers(1000, 40_000),
    ),
    cpu_ms=st.floats(3, 100),
)
def test_any_settings_agree_with_the_simulation(job: Job, cpu_ms: float) -> None:
    usage = replace(USAGE, cpu_ms=cpu_ms, worker_ms=cpu_ms * 0.7)
    check_against_the_simulation(Forecast(job, usage, start_seconds=1.0))


@given(
    images=st.integers(1, 10**9),
    concurrency=st.integers(2, 999),
    batch=st.integers(1, 1000),
    memory=st.integers(512, 10240),
)
@example(images=1, concurrency=2, batch=1, memory=512)
def test_more_images_take_no_less_time_and_more_functions_no_more(
    images: int, concurrency: int, batch: int, memory: int
) -> None:
    job = Job(images, concurrency=concurrency, batch=batch, memory=memory)
    forecast = Forecast(job, USAGE, 1.0)
    assert Forecast(replace(job, images=images + 1), USAGE, 1.0).seconds >= forecast.seconds
    assert Forecast(replace(job, concurrency=concurrency + 1), USAGE, 1.0).seconds <= forecast.seconds * (1 + 1e-9)
    assert 1 <= forecast.functions <= min(concurrency, forecast.invocations)


def test_the_limits_are_those_that_are_documented() -> None:
    forecast = Forecast(Job(MILLION, concurrency=1000, write_units=2, prefixes=3), USAGE, 0.0)
    assert {one.name: one.images_per_second for one in forecast.limits} == {
        "DynamoDB: table": 2_000,
        "DynamoDB: a partition of by-label": 2_500,
        "DynamoDB: a partition of attention": 5_000,
        "S3: PUT of a prefix": 10_500,
        "S3: GET of a prefix": 16_500,
        "Lambda: MaximumConcurrency": 1000 * 20 / forecast.invocation_seconds,
        "SQS: messages in flight": 120_000 / forecast.invocation_seconds,
    }
    rates = [one.images_per_second for one in forecast.limits]
    assert rates == sorted(rates)
    enough = forecast.useful_concurrency * forecast.function_rate
    assert 2_000 <= enough < 2_000 + forecast.function_rate


def test_a_batch_of_lines_is_one_object_in_one_folder() -> None:
    job = Job(MILLION, mode="jsonl", batch=10, prefixes=3, attention=0)
    found = {one.name: one.images_per_second for one in Forecast(job, USAGE, 0.0).limits}
    assert found["S3: PUT of a prefix"] == 35_000
    assert "DynamoDB: a partition of attention" not in found


def test_a_job_of_one_batch_takes_a_start_and_the_batch() -> None:
    forecast = Forecast(Job(20), USAGE, 1.0)
    assert forecast.seconds == 1.0 + forecast.invocation_seconds
    assert forecast.functions == 1
    assert Forecast(Job(10 * MILLION), USAGE, 1.0).bound_by == Forecast(Job(MILLION), USAGE, 1.0).limits[0].name


def test_functions_are_added_as_the_event_source_adds_them() -> None:
    """5 at first and 5 more each second: after 19 s there are 100."""
    job = Job(1, batch=10, concurrency=1000, prefixes=1000, table_writes=10**9, largest_label=0.001, attention=0)
    done = Forecast(job, USAGE, 0.0).function_rate * 19 * (5 + 100) / 2
    forecast = Forecast(replace(job, images=round(done)), USAGE, 0.0)
    assert forecast.seconds == pytest.approx(19, abs=0.01)
    assert forecast.functions in (100, 101)
    assert forecast.bound_by == "Lambda: 300 more invocations a minute"


def test_the_function_is_as_the_model_takes_it() -> None:
    assert throughput.IN_FLIGHT == IN_FLIGHT == queueing.THREADS
    for memory, workers in ((512, 1), (1769, 1), (3537, 1), (3538, 2), (10240, 5)):
        function = ServingSettings(
            ModelUri.parse("s3://bucket/models/"), "incoming/", 5, None, Limits(), False, "INFO", None, memory * 2**20
        )
        assert function.workers == workers == max(1, memory // MEGABYTES_PER_VCPU)


def test_a_job_runs_at_the_defaults_of_the_template() -> None:
    parameters = read_source()["Parameters"]
    names = {"memory": "MemorySize", "batch": "BatchSize", "concurrency": "MaximumConcurrency", "mode": "OutputMode"}
    assert {field: getattr(Job(1), field) for field in names} == {
        field: parameters[name]["Default"] for field, name in names.items()
    }


def test_what_is_shipped_has_both_modes_at_several_sizes() -> None:
    measured = MeasuredUsage.load()
    for mode in ("image", "jsonl"):
        sizes = [size for size, _ in measured.usage[mode]]
        assert len(sizes) >= 3 and sizes == sorted(set(sizes))
        for size, usage in measured.usage[mode]:
            assert measured.of(size, mode).cpu_ms == pytest.approx(usage.cpu_ms)
            assert 0 < usage.worker_ms < usage.cpu_ms


def test_sizes_between_the_measured_ones_lie_on_a_line() -> None:
    row = {"worker_ms": 1, "invocation_cpu_ms": 0, "log_bytes": 1, "invocation_log_bytes": 1, "mode": "image"}
    document = dict.fromkeys(("commit", "measured_at", "machine", "model"), "")
    usage = [{**row, "size": size, "cpu_ms": cpu} for size, cpu in (("30x10", 6), ("10x10", 4), ("50x10", 12))]
    measured = MeasuredUsage.from_document({**document, "start_cpu_ms": 1, "usage": usage})
    assert [measured.of(pixels, "image").cpu_ms for pixels in (100, 200, 300, 400, 500, 600)] == [
        pytest.approx(cpu) for cpu in (4, 5, 6, 9, 12, 15)
    ]
