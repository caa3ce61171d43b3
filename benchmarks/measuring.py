"""What is measured, and how: cases that take turns, round after round, so that what slows the machine slows all alike.

Times are processor time of a handler's whole process tree, except where they say otherwise. The first round is thrown
away.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.harness import HandlerFailed, Host, Invocation, sqs_event
from benchmarks.simulator import Served, Simulator
from benchmarks.subjects import BASELINE, FUNCTION, IMAGE, SIZES, Material, Subject, key, photo_names

MILLISECONDS = 1000.0
SLOW_IMAGES = 20
"""Of the plain handlers in a round, which would otherwise take most of a run's time."""
_MEMORY_EVERY = 250

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Case:
    """``events`` events of ``images`` images each, given to one handler in each round."""

    subject: Subject
    size: str
    images: int
    events: int = 1


def cases(subjects: Iterable[Subject], sizes: Sequence[str], batches: Sequence[int]) -> list[Case]:
    """Every size with every batch for the function; the others with one batch, since they do one image at a time."""
    found = []
    for size in sizes:
        for subject in subjects:
            if subject.mode:
                found += [Case(subject, size, images, _events(images)) for images in batches]
            else:
                found.append(Case(subject, size, 100 if subject.is_limit else SLOW_IMAGES))
    return found


def _events(images: int) -> int:
    return max(1, 20 // images)


def measure(
    material: Material, simulator: Simulator, wanted: Sequence[Case], rounds: int, tell: Tell
) -> list[dict[str, Any]]:
    """Measure the cases in turns.

    Returns:
        A mapping a case: what it was, CPU milliseconds an image and images a second of each round, and percentiles of
        the milliseconds on the wall from the request for an image to the answer to its last write.

    Raises:
        HandlerFailed: a handler raised, or left an image undone.
    """
    found: dict[Case, list[dict[str, Any]]] = {case: [] for case in wanted}
    with ExitStack() as stack:
        hosts: dict[Subject, Host] = {}
        for case in wanted:
            if case.subject not in hosts:
                tell(f"start {case.subject.name} {case.subject.mode}")
                hosts[case.subject] = stack.enter_context(material.start(case.subject, simulator))
        for number in range(rounds + 1):
            for case in wanted:
                tell(f"round {number} of {rounds}: {case.subject.name} {case.subject.mode} {case.size} {case.images}")
                one = _round(case, hosts[case.subject], simulator)
                if number:
                    found[case].append(one)
    return [_summary(case, done) for case, done in found.items()]


def _round(case: Case, host: Host, simulator: Simulator) -> dict[str, Any]:
    simulator.forget("predictions/")
    total = case.images * case.events
    if case.subject.is_limit:
        done = [host.invoke({"names": photo_names(case.size, total)})]
        return {**_cost(done, total, 0), "stages": _per_image(done[0].answer, total)}
    keys = [key(case.size, number) for number in range(total)]
    logged = host.logged_bytes()
    events = [sqs_event(keys[start : start + case.images]) for start in range(0, total, case.images)]
    done = [host.invoke(event) for event in events]
    told = simulator.statement()
    refused = [one for one in told.served if one.status >= 400]
    if refused or told.items != total or any(one.answer.get("batchItemFailures") for one in done):
        reason = f"{told.items} of {total} images were recorded, {len(refused)} requests refused {refused[:1]}"
        raise HandlerFailed(f"{case}: {reason}\n{host.log()}")
    return {**_cost(done, total, host.logged_bytes() - logged), "image_ms": image_milliseconds(told.served)}


def _cost(done: Sequence[Invocation], images: int, logged: int) -> dict[str, Any]:
    return {
        "cpu_ms": sum(one.cpu_seconds for one in done) * MILLISECONDS / images,
        "images_per_second": images / sum(one.seconds for one in done),
        "invocation_ms": [one.seconds * MILLISECONDS for one in done],
        "log_bytes": logged / images,
    }


def _per_image(seconds: Mapping[str, float], images: int) -> dict[str, float]:
    return {stage: value * MILLISECONDS / images for stage, value in seconds.items()}


def image_milliseconds(served: Sequence[Served]) -> list[float]:
    """Of each image, from the arrival of the request for it to the answer to the last write of its own."""
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    for one in served:
        image = one.key.removeprefix("predictions/").removesuffix(".json")
        image = image if image.startswith("incoming/") else f"incoming/{image}"
        if one.operation == "GET":
            first.setdefault(image, one.arrived)
        elif image in first:
            last[image] = max(one.answered, last.get(image, 0.0))
    return [(last[image] - first[image]) * MILLISECONDS for image in last]


def _summary(case: Case, rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "subject": case.subject.name,
        "mode": case.subject.mode or None,
        "size": case.size,
        "images": case.images,
        "cpu_ms": [round(one["cpu_ms"], 3) for one in rounds],
        "images_per_second": [round(one["images_per_second"], 2) for one in rounds],
        "invocation_ms": percentiles([value for one in rounds for value in one["invocation_ms"]]),
    }
    if case.subject.is_limit:
        document["stages_ms"] = medians([one["stages"] for one in rounds])
    else:
        document["image_ms"] = percentiles([value for one in rounds for value in one["image_ms"]])
        document["log_bytes"] = round(median(one["log_bytes"] for one in rounds))
    return document


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """The 50th and the 99th percentile, by nearest rank."""
    ordered = sorted(values)
    return {f"p{share}": round(ordered[math.ceil(share / 100 * len(ordered)) - 1], 1) for share in (50, 99)}


def medians(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each name's values."""
    return {name: round(median(row[name] for row in rows), 3) for name in rows[0]}


def stages(
    material: Material, simulator: Simulator, subjects: Sequence[Subject], size: str, rounds: int, tell: Tell
) -> list[dict[str, Any]]:
    """CPU milliseconds an image by stage, of the function's subjects, batches of 100."""
    keys = [key(size, number) for number in range(100)]
    found: dict[Subject, list[dict[str, float]]] = {subject: [] for subject in subjects}
    with ExitStack() as stack:
        hosts = {s: stack.enter_context(material.start(s, simulator, stages=True)) for s in subjects}
        for number in range(rounds + 1):
            for subject, host in hosts.items():
                tell(f"stages {size}, round {number} of {rounds}: {subject.name} {subject.mode}")
                simulator.forget("predictions/")
                done = host.invoke(sqs_event(keys))
                told = done.answer["stages"]
                if number:
                    rest = done.cpu_seconds - sum(told.values())
                    found[subject].append(_per_image({**told, "rest": rest}, len(keys)))
    return [
        {"subject": subject.name, "mode": subject.mode, "size": size, "stages_ms": medians(rows)}
        for subject, rows in found.items()
    ]


def profile(material: Material, simulator: Simulator, size: str, mode: str) -> str:
    """Python's profile of the function's main process for a batch of 100."""
    event = sqs_event([key(size, number) for number in range(100)])
    with material.start(Subject(FUNCTION, mode), simulator, stages=True, profile=True) as host:
        for _ in range(2):
            simulator.forget("predictions/")
            text = str(host.invoke(event).answer["profile"])
    return text


def cold_starts(
    material: Material, simulator: Simulator, subjects: Sequence[Subject], rounds: int, tell: Tell
) -> list[dict[str, Any]]:
    """From the start of the process until the model is loaded: CPU and wall milliseconds, medians."""
    found: dict[Subject, list[dict[str, float]]] = {subject: [] for subject in subjects}
    for number in range(rounds + 1):
        for subject in subjects:
            tell(f"cold start {number} of {rounds}: {subject.name}")
            with material.start(subject, simulator) as host:
                cpu, wall = host.start_cpu_seconds, host.start_seconds
                if subject.name in (FUNCTION, BASELINE):
                    # Whether it was loaded by then or not, now it is.
                    asked = host.invoke({"query": "model"})
                    cpu, wall = cpu + asked.cpu_seconds, wall + asked.seconds
            if number:
                found[subject].append({"cpu_ms": cpu * MILLISECONDS, "wall_ms": wall * MILLISECONDS})
    return [{"subject": subject.name, **medians(rows)} for subject, rows in found.items()]


def peak_memory(
    material: Material, simulator: Simulator, subjects: Sequence[Subject], sizes: Sequence[str], tell: Tell
) -> list[dict[str, Any]]:
    """The most megabytes that a handler takes with batches of 100, the plain ones of 20, in each size."""
    found = []
    for subject in subjects:
        with material.start(subject, simulator) as host:
            for size in sizes:
                tell(f"memory: {subject.name} {size}")
                simulator.forget("predictions/")
                keys = [key(size, number) for number in range(100 if subject.mode else SLOW_IMAGES)]
                peak = host.peak_memory([sqs_event(keys)])
                found.append({"subject": subject.name, "size": size, "mb": round(peak / 1e6)})
    return found


def growth(
    material: Material,
    simulator: Simulator,
    at_once: Simulator,
    counts: Sequence[int],
    invocations: int,
    tell: Tell,
    *,
    images: int = 1000,
) -> dict[str, Any]:
    """Whether what an image costs depends on how many there are.

    Args:
        images: so many for each of the smaller counts, in several events.
        at_once: a simulator without latency, for the memory over many invocations of one image.
        counts: images of an event, ascending. They are gone through there and back, which a machine that becomes
            slower all the time does not notice.
    """
    size = next(iter(SIZES))
    rows: dict[int, list[float]] = {count: [] for count in counts}
    with material.start(Subject(FUNCTION, IMAGE), simulator) as host:
        _round(Case(Subject(FUNCTION, IMAGE), size, min(counts)), host, simulator)
        for count in (*counts, *reversed(counts[:-1])):
            events = max(1, images // count)
            tell(f"growth: {events} events of {count} images")
            one = _round(Case(Subject(FUNCTION, IMAGE), size, count, events), host, simulator)
            rows[count].append(one["cpu_ms"])
    memory = []
    with material.start(Subject(FUNCTION, IMAGE), at_once) as host:
        for number in range(invocations + 1):
            if number % _MEMORY_EVERY == 0:
                tell(f"growth: {number} of {invocations} invocations")
                at_once.forget("predictions/")
                memory.append([number, round(host.memory() / 1e6, 1)])
            host.invoke(sqs_event([key(size, number % _MEMORY_EVERY)]))
    return {
        "size": size,
        "cpu_ms": [[count, round(sum(values) / len(values), 3)] for count, values in rows.items()],
        "memory_mb": memory,
    }
