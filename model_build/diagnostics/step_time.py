"""Where the time of a step goes: waiting for photos, or computing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from model_build.diagnostics.diagnosis import PROFILER_RULES, Finding, Rule, Severity
from model_build.diagnostics.facts import History, StepFacts

_WARM_UP = 2  # the first steps of a phase trace and compile the network
_OUTLIER_SIGMAS = 5  # StepOutlier's default ``stddev``


@dataclass(frozen=True)
class StepTime:
    """The steps of one phase, without its first two. Milliseconds are medians.

    Attributes:
        input_share: time spent waiting for photos, of all the time.
        verdict: "input-bound" or "compute-bound".
        images_per_second: photos over all the time of the steps.
        outliers: steps that took longer than the mean by 5 standard deviations (StepOutlier's default).
        start_seconds: what the steps left out took: tracing and compiling, mostly.
    """

    phase: str
    steps: int
    wait_ms: float
    compute_ms: float
    p95_ms: float
    input_share: float
    verdict: str
    images_per_second: float
    outliers: int
    start_seconds: float

    def to_document(self) -> dict[str, Any]:
        return asdict(self)


def step_times(history: History, *, threshold: float = 50.0) -> list[StepTime]:
    """A profile of each phase that has a step to measure; ``threshold`` as in :class:`InputBound`."""
    phases = [(phase, [step for step in history.steps if step.phase == phase]) for phase in history.phases]
    return [_profile(phase, steps, threshold) for phase, steps in phases if len(steps) > _WARM_UP]


@dataclass(frozen=True)
class InputBound(Rule, name="input-bound", anchor="io-bottleneck", needs="steps", page=PROFILER_RULES, live=True):
    """IOBottleneck: waiting for input takes more than ``threshold`` (50) percent of the time.

    The published rule reads the machine's I/O wait; this one the time each step really waited for its batch.
    """

    threshold: float = 50.0

    def check(self, history: History) -> Finding | None:
        bound = [one for one in step_times(history, threshold=self.threshold) if one.verdict == "input-bound"]
        if not bound:
            return None
        worst = max(bound, key=lambda one: one.input_share)
        first = next(step.number for step in history.steps if step.phase == bound[0].phase)
        return Finding(
            self.name,
            Severity.WARNING,
            f"step {first}",
            {
                "phase": worst.phase,
                "waiting, share of the time": worst.input_share,
                "wait, ms per step": worst.wait_ms,
                "compute, ms per step": worst.compute_ms,
                "images per second": worst.images_per_second,
            },
            "The processor waits for photos during most of each step: a faster processor would not train faster.",
            "Decode once and cache, prefetch with more threads, downscale the photos beforehand, or keep them on a "
            "local disk.",
        )


def _profile(phase: str, steps: Sequence[StepFacts], threshold: float) -> StepTime:
    measured, start = steps[_WARM_UP:], steps[:_WARM_UP]
    wait = np.array([step.wait_seconds for step in measured])
    compute = np.array([step.compute_seconds for step in measured])
    whole = wait + compute
    total = float(whole.sum())
    share = float(wait.sum()) / total if total else 0.0
    return StepTime(
        phase=phase,
        steps=len(measured),
        wait_ms=1e3 * float(np.median(wait)),
        compute_ms=1e3 * float(np.median(compute)),
        p95_ms=1e3 * float(np.percentile(whole, 95)),
        input_share=share,
        verdict="input-bound" if 100 * share > threshold else "compute-bound",
        images_per_second=sum(step.images for step in measured) / total if total else 0.0,
        outliers=int((whole > whole.mean() + _OUTLIER_SIGMAS * whole.std()).sum()),
        start_seconds=sum(step.wait_seconds + step.compute_seconds for step in start),
    )
