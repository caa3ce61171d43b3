"""``bucketlens model train``: a folder of photos becomes a run folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from model_build import runs
from model_build.backbones import find_backbone
from model_build.config import TrainingConfig
from model_build.dataset import SPLITS, TEST, TRAIN, VALIDATION, scan
from model_build.files import json_bytes, require_free, staged_folder
from model_build.fitting import fit, predict_logits
from model_build.metrics import Scores, score
from model_build.plots import confusion_picture
from model_build.split import Split, split_photos
from model_build.tensors import TensorSet, decode_photos
from model_build.watching import TrainingWatcher

_LIBRARIES = ("tensorflow", "keras", "numpy", "pillow", "bucketlens")


def train(
    config: TrainingConfig,
    data: Path,
    out: Path,
    *,
    weights: Path | None = None,
    watcher: TrainingWatcher | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> tuple[runs.Run, Scores]:
    """Decode, split, fit, measure, and write ``out`` in one step at the end.

    Returns:
        The run, and the scores of the test photos by the Keras network in float32.

    Raises:
        UserError: ``out`` is taken, ``data`` cannot be trained on, or the backbone or its weights do not exist.
    """
    watcher = watcher or TrainingWatcher()
    require_free(out)
    backbone = find_backbone(config.backbone)
    size = config.image_size or backbone.image_size
    config = replace(config, image_size=size)
    found = scan(data)
    tensors, unreadable = decode_photos(
        found.photos, height=size, width=size, policy=config.policy, progress=watcher.decoded
    )
    watcher.left_out(unreadable)
    split = split_photos(
        tensors.photos,
        validation_fraction=config.validation_fraction,
        test_fraction=config.test_fraction,
        seed=config.seed,
        source=str(data),
    )
    watcher.split(split)
    parts = _tensors_by_split(tensors, split)
    with staged_folder(out) as staging:
        fitted = fit(
            backbone,
            config,
            split.labels,
            parts[TRAIN],
            parts[VALIDATION],
            weights=weights,
            on_epoch=lambda epoch: watcher.epoch(epoch, config.epochs),
        )
        scores = {
            name: score(
                parts[name].targets(split.labels),
                predict_logits(fitted.model, parts[name].images).argmax(axis=1),
                split.labels,
            )
            for name in (VALIDATION, TEST)
        }
        record = runs.RunRecord(
            created_at=now().isoformat(timespec="seconds"),
            data=str(data.resolve()),
            fingerprint=tensors.fingerprint,
            labels=list(split.labels),
            height=size,
            width=size,
            images={name: len(parts[name]) for name in SPLITS},
            unreadable=[asdict(one) for one in unreadable],
            validation=scores[VALIDATION].summary(),
            test=scores[TEST].summary(),
            libraries=library_versions(),
        )
        fitted.model.save(staging / runs.KERAS_NAME)
        fitted.backbone.save_weights(staging / runs.BACKBONE_NAME)
        documents = {
            **runs.Run(out, config, record).to_files(),
            runs.SPLIT_NAME: split.to_document(),
            runs.HISTORY_NAME: [asdict(epoch) for epoch in fitted.history],
            runs.CONFUSION_NAME: scores[TEST].to_document(),
        }
        for name, document in documents.items():
            (staging / name).write_bytes(json_bytes(document))
        (staging / runs.CONFUSION_PICTURE_NAME).write_bytes(confusion_picture(scores[TEST]))
    return runs.Run.open(out), scores[TEST]


def library_versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # Bucketlens run from a source tree that was never installed
            found[name] = "unknown"
    return found


def _tensors_by_split(tensors: TensorSet, split: Split) -> dict[str, TensorSet]:
    row = {photo.name: position for position, photo in enumerate(tensors.photos)}
    return {name: tensors.subset([row[photo.name] for photo in split.photos[name]]) for name in SPLITS}
