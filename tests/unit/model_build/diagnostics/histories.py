"""Facts of trainings that never were, for the rules."""

from __future__ import annotations

from model_build.diagnostics.facts import EpochFacts, LayerSample, Sample, StepFacts

LAYER = LayerSample("conv", gradient=1e-3, gradient_range=0.01, variance=2.0, update_ratio=1e-3)


def samples(*layers: LayerSample, steps: int = 3, loss: float = 2.0) -> list[Sample]:
    return [Sample(10 * index + 1, "finetune", loss, layers) for index in range(steps)]


def steps(*losses: float, epoch_of: int = 10, wait: float = 0.01, compute: float = 0.09) -> list[StepFacts]:
    return [
        StepFacts(index + 1, index // epoch_of + 1, "finetune", loss, 8, wait, compute)
        for index, loss in enumerate(losses)
    ]


def epochs(*pairs: tuple[float, float]) -> list[EpochFacts]:
    return [EpochFacts(index, "finetune", loss, validation) for index, (loss, validation) in enumerate(pairs, 1)]
