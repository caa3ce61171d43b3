"""``bucketlens model train``: a folder of photos becomes a run folder."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from classifier.errors import UserError
from classifier.imaging import DRAFT_MARGIN
from model_build.data.dataset import SPLITS, TEST, TRAIN, VALIDATION, Photo, Split, scan, split_photos
from model_build.data.tensors import (
    Images,
    Material,
    SelectedImages,
    StoredPhotos,
    Unreadable,
    fingerprint_of,
    store_photos,
    targets_of,
)
from model_build.files import json_bytes
from model_build.metrics.scores import Scores, score
from model_build.training.checkpoints import PartialRun, partial_run
from model_build.training.config import TrainingConfig
from model_build.training.fitting import Fitted, fit
from model_build.training.observers import SILENT, Epoch, StepObserver, Watcher
from model_build.training.predicting import predict_logits
from model_build.training.run import BACKBONE_NAME, CONFUSION_NAME, HISTORY_NAME, KERAS_NAME, SPLIT_NAME, Run, RunRecord
from model_build.training.stages import class_weights, epochs_for
from model_build.training.tensorboard_log import FOLDER_NAME, TensorBoardLog
from model_build.training.weights import require_weights, resolve_network

_LIBRARIES = ("tensorflow", "keras", "numpy", "pillow", "bucketlens")
_CROP_MARGIN = 8 / 7  # photos that crops are cut from are stored larger: a crop then loses little detail


def train(
    config: TrainingConfig,
    data: Path,
    out: Path,
    *,
    weights: Path | None = None,
    watcher: Watcher = SILENT,
    observers: Sequence[StepObserver] = (),
    diagnose: Callable[[], dict[str, Any]] = dict,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> tuple[Run, Scores]:
    """Decode, split, fit, measure; ``out`` appears in one step at the end.

    The state of every completed epoch is kept in ``out`` + ``.partial``: after a kill the same call resumes from it.

    Args:
        observers: look into the training, and ``diagnose`` gives what they found, for the run record.

    Returns:
        The run, and the scores of the test photos by the Keras network in float32.

    Raises:
        UserError: ``out`` is taken, ``data`` cannot be trained on, the backbone or its weights do not exist, the
            unfinished training of ``out`` was started with other settings, or the disk is full.
    """
    if weights:
        require_weights(weights, config.backbone)
    backbone, alpha = resolve_network(config.backbone, config.alpha, weights)
    size = config.image_size or backbone.image_size
    config = replace(config, image_size=size, alpha=alpha if backbone.has_alpha else 0.0)
    try:
        with partial_run(out) as partial:
            scores = _train(config, data, out, partial, weights, watcher, observers, diagnose, now)
            partial.finish(out.absolute())
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror or error}; nothing was left behind") from None
    return Run.open(out), scores


def _train(
    config: TrainingConfig,
    data: Path,
    out: Path,
    partial: PartialRun,
    weights: Path | None,
    watcher: Watcher,
    observers: Sequence[StepObserver],
    diagnose: Callable[[], dict[str, Any]],
    now: Callable[[], datetime],
) -> Scores:
    begun = time.perf_counter()
    served, unreadable, split = read_photos(config, data, partial.scratch / "served", watcher)
    if not config.epochs:
        config = replace(config, epochs=epochs_for(len(split.photos[TRAIN]), config.alpha))
    parts = {name: _part(served, split.photos[name]) for name in SPLITS}
    targets = {name: targets_of(split.photos[name], split.labels) for name in SPLITS}
    training = parts[TRAIN]
    if config.crop_area < 1:
        larger = round(config.image_size * _CROP_MARGIN)
        path = partial.scratch / "training"
        training = store_photos(
            split.photos[TRAIN], path, size=larger, policy=config.policy, draft_margin=DRAFT_MARGIN
        )[0].images
    decoded = time.perf_counter()
    fingerprint = fingerprint_of(served.photos, served.sha256)
    origin = weights_origin(config, weights)
    identity = {**config.to_document(), "data": fingerprint, "weights": origin, "draft_margin": DRAFT_MARGIN}
    state = partial.state(identity)
    fine = 0 if config.fine_tune == "none" else config.epochs
    watcher.phases(config.head_epochs, fine)
    if state:
        watcher.resumed(len(state.history))
    with TensorBoardLog(partial.folder / FOLDER_NAME) as log:

        def ended(epoch: Epoch) -> None:
            log.epoch(epoch)
            watcher.epoch(epoch, config.head_epochs + fine)

        fitted = fit(
            config,
            Material(split.labels, training, targets[TRAIN], parts[VALIDATION], targets[VALIDATION]),
            weights=weights,
            state=state,
            save=partial.save,
            on_epoch=ended,
            on_step=watcher.training_step,
            observers=observers,
        )
    fitted_at = time.perf_counter()
    scores = {
        name: score(targets[name], predict_logits(fitted.model, parts[name]).argmax(axis=1), split.labels)
        for name in (VALIDATION, TEST)
    }
    counts = np.bincount(targets[TRAIN], minlength=len(split.labels))
    record = RunRecord(
        created_at=now().isoformat(timespec="seconds"),
        data=str(data.resolve()),
        fingerprint=fingerprint,
        labels=list(split.labels),
        height=config.image_size,
        width=config.image_size,
        images={name: len(split.photos[name]) for name in SPLITS},
        unreadable=[asdict(one) for one in unreadable],
        validation=scores[VALIDATION].summary(),
        test=scores[TEST].summary(),
        libraries=library_versions(),
        training={
            "backbone": config.backbone,
            "alpha": config.alpha or None,
            "parameters": int(fitted.model.count_params()),
            "weights": origin,
            "class_weights": class_weights(counts, config.class_weights).round(4).tolist(),
            "best_epoch": max((epoch.number for epoch in fitted.history if epoch.best), default=0),
        },
        timing={
            "decoding": round(decoded - begun, 2),
            "fitting": round(fitted_at - decoded, 2),
            "total": round(time.perf_counter() - begun, 2),
        },
        diagnostics=diagnose(),
        draft_margin=DRAFT_MARGIN,
    )
    _write(partial.folder, Run(out, config, record), fitted, split, scores[TEST])
    return scores[TEST]


def read_photos(
    config: TrainingConfig, data: Path, path: Path, watcher: Watcher
) -> tuple[StoredPhotos, list[Unreadable], Split]:
    """Decode the photos of ``data`` to ``config.image_size`` pixels into the file ``path``, and split those that can be
    read, copies together.

    Raises:
        UserError: there are no photos, or too few to split.
        OSError: the file cannot be written.
    """
    served, unreadable = store_photos(
        scan(data).photos,
        path,
        size=config.image_size,
        policy=config.policy,
        draft_margin=DRAFT_MARGIN,
        progress=watcher.decoded,
    )
    watcher.left_out(unreadable)
    split = split_photos(
        served.photos,
        validation_fraction=config.validation_fraction,
        test_fraction=config.test_fraction,
        seed=config.seed,
        source=str(data),
        copies=() if {VALIDATION, TEST} <= {photo.split for photo in served.photos} else served.copies(config.policy),
    )
    watcher.split(split)
    return served, unreadable, split


def weights_origin(config: TrainingConfig, weights: Path | None) -> str:
    """Where a network starts from, as the run records it."""
    if weights:
        return f"sha256 {hashlib.sha256(weights.read_bytes()).hexdigest()}"
    return "imagenet" if config.pretrained else "random"


def _write(folder: Path, run: Run, fitted: Fitted, split: Split, scores: Scores) -> None:
    fitted.model.save(folder / KERAS_NAME)
    fitted.backbone.save_weights(folder / BACKBONE_NAME)
    documents = {
        **run.to_files(),
        SPLIT_NAME: split.to_document(),
        HISTORY_NAME: [asdict(epoch) for epoch in fitted.history],
        CONFUSION_NAME: scores.to_document(),
    }
    for name, document in documents.items():
        (folder / name).write_bytes(json_bytes(document))


def library_versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # Bucketlens run from a source tree that was never installed
            found[name] = "unknown"
    return found


def _part(stored: StoredPhotos, photos: Sequence[Photo]) -> Images:
    row = {photo.name: position for position, photo in enumerate(stored.photos)}
    return SelectedImages(stored.images, np.array([row[photo.name] for photo in photos], dtype=np.intp))
