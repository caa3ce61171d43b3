"""A trial of the real thing: train on photos, answer with the accuracy on the validation photos."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from classifier.errors import UserError
from model_build.data.dataset import TRAIN, scan
from model_build.training.config import TrainingConfig
from model_build.training.watching import TrainingWatcher
from model_build.tuning.tuner import Trainer


def photo_trainer(data: Path, weights: Mapping[str, Path]) -> Trainer:
    """Trains on the photos of ``data``; ``weights`` are files by backbone, for those that have one."""

    def trainer(config: TrainingConfig, out: Path, watcher: TrainingWatcher) -> float:
        from model_build.runs import Run
        from model_build.tf_runtime import load_tensorflow
        from model_build.training.diagnosed import train_diagnosed

        if out.exists():  # trained to its end by a process that was killed before it could say so
            run = Run.open(out)
        else:
            load_tensorflow()[1].backend.clear_session()  # the networks of earlier trials
            run, _ = train_diagnosed(config, data, out, weights=weights.get(config.backbone), watcher=watcher)
        return float(run.record.validation["accuracy"])

    return trainer


def facts(data: Path) -> dict[str, Any]:
    """What makes the accuracies of two trials comparable: the classes, and how many photos there are."""
    found = scan(data)
    return {"labels": list(found.labels), "photos": len(found.photos)}


def usual_epochs(data: Path) -> int:
    """What a configuration with 0 epochs trains on these photos, give or take those that cannot be read."""
    from model_build.training.optimizing import epochs_for

    photos = scan(data).photos
    split = [photo for photo in photos if photo.split == TRAIN]
    defaults = TrainingConfig()
    share = 1 - defaults.validation_fraction - defaults.test_fraction
    return epochs_for(len(split) or round(share * len(photos)))


def weights_by_backbone(files: Iterable[Path]) -> dict[str, Path]:
    """Whose weights the files are.

    Raises:
        UserError: a file that is no weights file, or fits no backbone; two for one backbone.
    """
    from model_build.training.weights import identify

    found: dict[str, Path] = {}
    for file in files:
        owner = identify(file)
        if owner is None:
            raise UserError(f"{file} fits no backbone there is")
        if owner[0] in found:
            raise UserError(f"{file} and {found[owner[0]]} both fit {owner[0]}; give one")
        found[owner[0]] = file
    return found
