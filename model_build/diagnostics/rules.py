"""All the rules, with their published defaults."""

from __future__ import annotations

from model_build.diagnostics.activations import DeadRelu
from model_build.diagnostics.classes import ClassImbalance, Confusion
from model_build.diagnostics.findings import Rule
from model_build.diagnostics.gradients import (
    ExplodingTensor,
    PoorWeightInitialization,
    VanishingGradient,
    WeightUpdateRatio,
)
from model_build.diagnostics.losses import LossNotDecreasing, Overfit, Overtraining
from model_build.diagnostics.step_time import InputBound

DEFAULT_RULES: tuple[Rule, ...] = (
    ExplodingTensor(),
    VanishingGradient(),
    DeadRelu(),
    PoorWeightInitialization(),
    WeightUpdateRatio(),
    LossNotDecreasing(),
    Overfit(),
    Overtraining(),
    ClassImbalance(),
    Confusion(),
    InputBound(),
)
