"""A discrete-event simulation of what :mod:`bucketlens.throughput` has formulas for; it shares none of them.

In two levels, so that 100 million images take seconds: :func:`invocation` plays one batch, image by image, and
:func:`job` plays every invocation of a job, each as long as one of those that were played.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from itertools import count

THREADS = 8
MEDIANS = {"get": 0.020, "item": 0.005, "put": 0.025}
SIGMA = 0.35


@dataclass
class Processors:
    """``vcpus`` of a function: whole ones serve a thread each, less than one serves slower. Times are seconds."""

    vcpus: float
    main_free: float = 0.0
    free: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.free = [0.0] * max(1, int(self.vcpus))

    def run(self, now: float, seconds: float, *, main: bool) -> float:
        """When work that is ready ``now`` is done. The main process does one thing at a time."""
        start = max(now, self.free[0], self.main_free if main else 0.0)
        end = start + seconds / min(1.0, self.vcpus)
        heapq.heapreplace(self.free, end)
        if main:
            self.main_free = end
        return end


def invocation(
    images: int, main: float, worker: float, once: float, vcpus: float, *, lines: bool, rng: random.Random
) -> float:
    """Seconds of one invocation, whose images take ``main`` and ``worker`` seconds of two processes."""
    processors, order = Processors(vcpus), count()
    stages = ["get", "decode", "item", *([] if lines else ["put"])]
    started = processors.run(0.0, once, main=True)
    ready = [(started, next(order), 0) for _ in range(min(THREADS, images))]
    left, end = images - len(ready), 0.0
    while ready:
        now, _, stage = heapq.heappop(ready)
        if stage == 2 * len(stages):
            end = max(end, now)
            if left:
                left -= 1
                heapq.heappush(ready, (now, next(order), 0))
            continue
        name = stages[stage // 2]
        if stage % 2:  # what was waited for is there
            now = processors.run(now, main / len(stages), main=True)
        elif name == "decode":
            now = processors.run(now, worker, main=False)
        else:
            now += _latency(name, rng)
        heapq.heappush(ready, (now, next(order), stage + 1))
    return end + (_latency("put", rng) if lines else 0.0)


def _latency(name: str, rng: random.Random) -> float:
    return MEDIANS[name] * rng.lognormvariate(0.0, SIGMA)


def job(
    invocations: int, batch: int, functions: int, played: list[float], start: float, images_per_second: float
) -> float:
    """Seconds until a job is done.

    Five functions run at first, then 300 a minute more. Storage serves ``images_per_second``: an invocation ends when
    the last of its images has been served.

    Args:
        played: seconds of invocations, taken in turn.
        start: seconds that a function starts for.
    """
    opened = [start + (max(0, number - 4) / 5) for number in range(functions)]
    heapq.heapify(opened)
    served = end = 0.0
    for number in range(invocations):
        now = opened[0]
        served = max(served, now) + batch / images_per_second
        done = max(now + played[number % len(played)], served)
        heapq.heapreplace(opened, done)
        end = max(end, done)
    return end
