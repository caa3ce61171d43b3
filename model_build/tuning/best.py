"""``train --best-of STUDY``: what a study found, for a training of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model_build.files import json_bytes, write_atomic
from model_build.training.config import TrainingConfig
from model_build.tuning.findings import Findings, best_settings, find_out
from model_build.tuning.studies import DEFAULT_FOLDER, SUMMARY_NAME, StudyPlace, load_study


@dataclass(frozen=True)
class BestOf:
    """The settings of a study's best trial, and what the study is to say about itself in the run's report."""

    config: TrainingConfig
    findings: Findings

    def note(self, run: Path) -> None:
        """Leave the findings in a run folder, where its report looks for them."""
        write_atomic(run / SUMMARY_NAME, json_bytes(self.findings.to_document()))


def best_of(name: str, storage: str | None = None, studies: Path = DEFAULT_FOLDER) -> BestOf:
    """Look into a study.

    Raises:
        UserError: no such study (the message lists those there are), or no trial has ended yet.
    """
    study = load_study(StudyPlace.of(name, storage, studies))
    config = TrainingConfig().overridden(best_settings(study), f"the study {name}")
    return BestOf(config, find_out(study))
