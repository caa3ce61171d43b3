"""Train, measure, package and publish image classifiers: ``from model_build import train`` (see docs/python-api.md)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model_build.api import convert, diff, doctor, evaluate, inspect, train, tune
    from model_build.bundle_api import (
        Packaged,
        import_model,
        package,
        promote,
        publish,
        rollback,
        save_evaluation,
        versions,
    )
    from model_build.data.sample_data import write_sample_data
    from model_build.diagnostics.diagnosis import Trained
    from model_build.evaluation.gate import GateLimits
    from model_build.inspection.relabelling import apply_decisions, undo_decisions
    from model_build.sagemaker.requests import JobPlan
    from model_build.sagemaker.submitting import Submitted, submit_training_job, submit_tuning_job
    from model_build.training.config import TrainingConfig
    from model_build.training.observers import Watcher
    from model_build.tuning.tuner import Tuned

__all__ = [
    "GateLimits",
    "JobPlan",
    "Packaged",
    "Submitted",
    "Trained",
    "TrainingConfig",
    "Tuned",
    "Watcher",
    "apply_decisions",
    "convert",
    "diff",
    "doctor",
    "evaluate",
    "import_model",
    "inspect",
    "package",
    "promote",
    "publish",
    "rollback",
    "save_evaluation",
    "submit_training_job",
    "submit_tuning_job",
    "train",
    "tune",
    "undo_decisions",
    "versions",
    "write_sample_data",
]

_DEFINED_IN = {
    "Packaged": "model_build.bundle_api",
    "import_model": "model_build.bundle_api",
    "package": "model_build.bundle_api",
    "promote": "model_build.bundle_api",
    "publish": "model_build.bundle_api",
    "rollback": "model_build.bundle_api",
    "save_evaluation": "model_build.bundle_api",
    "versions": "model_build.bundle_api",
    "GateLimits": "model_build.evaluation.gate",
    "JobPlan": "model_build.sagemaker.requests",
    "Trained": "model_build.diagnostics.diagnosis",
    "Tuned": "model_build.tuning.tuner",
    "apply_decisions": "model_build.inspection.relabelling",
    "undo_decisions": "model_build.inspection.relabelling",
    "write_sample_data": "model_build.data.sample_data",
    "Submitted": "model_build.sagemaker.submitting",
    "TrainingConfig": "model_build.training.config",
    "Watcher": "model_build.training.observers",
    "submit_training_job": "model_build.sagemaker.submitting",
    "submit_tuning_job": "model_build.sagemaker.submitting",
}


def __getattr__(name: str) -> Any:
    """Import what is used, when it is used (PEP 562): ``import model_build`` alone costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_DEFINED_IN.get(name, "model_build.api")), name)
