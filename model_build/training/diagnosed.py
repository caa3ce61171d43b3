"""A training that is watched by the rules of :mod:`model_build.diagnostics`, whoever runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from model_build.training.config import TrainingConfig
from model_build.training.watching import TrainingWatcher

if TYPE_CHECKING:
    from model_build.diagnostics import Finding
    from model_build.quality.metrics import Scores
    from model_build.runs import Run


def train_diagnosed(
    config: TrainingConfig,
    data: Path,
    out: Path,
    *,
    weights: Path | None = None,
    watcher: TrainingWatcher | None = None,
    on_finding: Callable[[Finding], None] = lambda _: None,
) -> tuple[Run, Scores]:
    """:func:`model_build.training.train.train`, with what the rules found in the run record.

    Args:
        on_finding: told of a finding as soon as it is made.
    """
    from model_build.diagnostics import Diagnostics
    from model_build.training.train import train

    watching = Diagnostics(
        label_smoothing=config.label_smoothing, weighted=config.class_weights != "none", on_finding=on_finding
    )
    return train(
        config,
        data,
        out,
        weights=weights,
        watcher=watcher,
        observers=[watching],
        diagnose=lambda: watching.finish().to_document(),
    )
