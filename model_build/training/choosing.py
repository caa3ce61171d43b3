"""``--backbone auto``: which networks are fine-tuned on these photos, and for how long, in the minutes there are.

A linear layer on each network's frozen features ranks them (:mod:`model_build.training.probing`). The best is
fine-tuned; the second, too, where the photos do not tell the two apart and the time is enough for both. Which of them
becomes the run is decided by the validation photos. Test photos decide nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier.errors import ImageRejected, UserError
from classifier.imaging import DRAFT_MARGIN, decode
from model_build.data.dataset import TRAIN, VALIDATION, scan
from model_build.data.tensors import ArrayImages, Images, Material, SelectedImages, store_photos, targets_of
from model_build.files import cache_folder
from model_build.training.backbones import build_backbone, find_backbone
from model_build.training.choice import BackboneCandidate, BackboneChoice
from model_build.training.config import TrainingConfig
from model_build.training.fitting import Pace, measure_pace
from model_build.training.observers import Watcher
from model_build.training.predicting import predict_logits
from model_build.training.probing import are_equal, cached_features, classified_rightly
from model_build.training.stages import epochs_for, small_epochs, small_size
from model_build.training.train import read_photos, weights_origin
from model_build.training.weights import load_weights

CANDIDATES = ("efficientnet_lite0", "efficientnet_lite1", "mobilenet_v2")
"""Networks with ImageNet weights that answer in milliseconds and are made of what 8 bits keep."""
DEFAULT_MINUTES = 25.0
SMALLEST_SIDE = 64
"""Pixels. In smaller pictures there is little of what networks for 224 pixels have learnt to see."""

_SAMPLED_PHOTOS = 25
_PROBED_PHOTOS = 2000
_FEWEST_EPOCHS = 3  # what cannot have these in its time trains its last layer alone
_ANSWER = 1 / 3  # of the time of a training step
_READINGS = 3  # of the photos, each as long as the one here: at the model's size, a little larger, and what is small
_MARGIN = 0.95


@dataclass(frozen=True)
class _Sample:
    """The photos that candidates are compared on, and how many there are in all."""

    digests: tuple[str, ...]
    targets: NDArray[np.int64]
    labels: int
    training: int
    validation: int
    images: Callable[[int], Images]
    reading_seconds: float


@dataclass(frozen=True)
class _Probed:
    config: TrainingConfig
    weights: Path | None
    right: NDArray[np.bool_]

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())


class _Decoding(Watcher):
    """Only told how far the reading is: the training itself reports what it reads."""

    def __init__(self, watcher: Watcher) -> None:
        self.decoded = watcher.decoded  # type: ignore[method-assign]


def are_small(data: Path) -> bool:
    """Whether half of the photos of a data set, by a few of them, have a side under :data:`SMALLEST_SIDE`.

    Raises:
        UserError: there are no photos.
    """
    photos = scan(data).photos
    sides = []
    for row in np.unique(np.linspace(0, len(photos) - 1, min(_SAMPLED_PHOTOS, len(photos))).astype(int)):
        try:
            image = decode(photos[row].path.read_bytes(), height=8, width=8)
        except (ImageRejected, OSError):
            continue  # training says so
        sides.append(min(image.width, image.height))
    return bool(sides) and float(np.median(sides)) < SMALLEST_SIDE


def choose(
    candidates: Sequence[tuple[TrainingConfig, Path | None]],
    data: Path,
    *,
    minutes: float,
    watcher: Watcher,
    cache: Path | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> BackboneChoice:
    """Which of the candidates, settings with a weights file or None, to fine-tune on the photos of ``data``.

    Epochs that are 0 are chosen: as many as fit into ``minutes``, the time for everything from here to the trained
    network, and no more than the photos are worth.

    Args:
        cache: for features; the user's by default.

    Raises:
        UserError: no candidate's weights can be had, or the photos cannot be trained on.
    """
    deadline = clock() + 60 * minutes * _MARGIN
    with TemporaryDirectory(prefix="bucketlens-") as scratch:
        sample = _read(candidates[0][0], data, Path(scratch), watcher, clock)
        probed, left_out = [], []
        for config, weights in candidates:
            watcher.step(f"probing {config.backbone}")
            try:
                probed.append(_probe(config, weights, sample, cache or cache_folder(), watcher))
            except UserError as error:
                if len(candidates) == 1:
                    raise
                left_out.append(BackboneCandidate(config.backbone, _named(weights), note=f"left out: {error}"))
                watcher.say(f"{config.backbone} is left out: {error}")
        if not probed:
            raise UserError(
                "no pretrained network can be had; the reasons are above. Give the weights of one with --weights FILE,"
                " or train from nothing with --backbone small_cnn"
            )
        probed.sort(key=lambda one: -one.accuracy)
        chosen = _within(probed, sample, lambda: deadline - clock(), watcher)
    rows = [
        chosen.get(place)
        or BackboneCandidate(
            one.config.backbone, _named(one.weights), one.accuracy, note="not fine-tuned: the probe ranks it lower"
        )
        for place, one in enumerate(probed)
    ]
    choice = BackboneChoice(minutes, (*rows, *left_out))
    watcher.say(_line(choice))
    return choice


def _read(config: TrainingConfig, data: Path, scratch: Path, watcher: Watcher, clock: Callable[[], float]) -> _Sample:
    begun = clock()
    size = _size(config)
    served, _, split = read_photos(replace(config, image_size=size), data, scratch / str(size), _Decoding(watcher))
    reading = clock() - begun
    known = [*split.photos[TRAIN], *split.photos[VALIDATION]]
    spread = np.unique(np.linspace(0, len(known) - 1, min(_PROBED_PHOTOS, len(known))).astype(int))
    photos = [known[row] for row in spread]
    place = {photo.name: row for row, photo in enumerate(served.photos)}
    rows = np.array([place[photo.name] for photo in photos], dtype=np.intp)
    stored: dict[int, Images] = {size: SelectedImages(served.images, rows)}

    def images(side: int) -> Images:
        if side not in stored:
            again, unreadable = store_photos(
                photos, scratch / str(side), size=side, policy=config.policy, draft_margin=DRAFT_MARGIN
            )
            if unreadable:
                raise UserError(f"{unreadable[0].name} has changed while it was read ({unreadable[0].reason})")
            stored[side] = again.images
        return stored[side]

    return _Sample(
        digests=tuple(served.sha256[row] for row in rows),
        targets=targets_of(photos, split.labels),
        labels=len(split.labels),
        training=len(split.photos[TRAIN]),
        validation=len(split.photos[VALIDATION]),
        images=images,
        reading_seconds=reading,
    )


def _probe(config: TrainingConfig, weights: Path | None, sample: _Sample, cache: Path, watcher: Watcher) -> _Probed:
    size = _size(config)
    config = replace(config, image_size=size)
    network = load_network(config, weights)
    images = sample.images(size)
    features = cached_features(
        cache / "features",
        (*features_key(config, weights), *sample.digests),
        lambda: predict_logits(network, images, watcher.progress),
    )
    return _Probed(config, weights, classified_rightly(features, sample.targets, sample.labels))


def load_network(config: TrainingConfig, weights: Path | None) -> Any:
    """The network of ``config``, whose ``image_size`` is not 0, with the weights to start from. Raises UserError."""
    network = build_backbone(
        find_backbone(config.backbone),
        size=config.image_size,
        alpha=config.alpha or 1.0,
        imagenet=config.pretrained and not weights,
    )
    if weights:
        load_weights(network, weights, config.backbone)
    return network


def features_key(config: TrainingConfig, weights: Path | None) -> tuple[str, ...]:
    """What the features of a photo depend on beside the photo: :func:`model_build.training.probing.cached_features`."""
    size, margin = str(config.image_size), str(DRAFT_MARGIN)
    return config.backbone, f"{config.alpha:g}", weights_origin(config, weights), size, config.resize, margin


def _within(
    probed: Sequence[_Probed], sample: _Sample, left: Callable[[], float], watcher: Watcher
) -> dict[int, BackboneCandidate]:
    """Those of ``probed`` that are fine-tuned, by their place, in the seconds that are ``left``."""
    watcher.step("measuring the time of a step")
    first = probed[0]
    pace = _pace(first, sample)
    wanted = _with_epochs(first.config, sample)
    cost = _seconds(wanted, pace, sample)
    if len(probed) > 1 and are_equal(first.right, probed[1].right) and cost < 0.7 * left():
        second = _with_epochs(probed[1].config, sample)
        both = cost, _seconds(second, _pace(probed[1], sample), sample)
        if sum(both) <= left():
            note = "fine-tuned: the probe does not tell it from the other"
            pairs = zip(probed, (wanted, second), both, strict=False)
            return {place: _finalist(one, config, cost, note) for place, (one, config, cost) in enumerate(pairs)}
    while cost > left() and not first.config.epochs and wanted.epochs >= _FEWEST_EPOCHS:
        wanted = replace(wanted, epochs=wanted.epochs - 1)
        cost = _seconds(wanted, pace, sample)
    note = "fine-tuned"
    if wanted.epochs < _FEWEST_EPOCHS and not first.config.epochs:
        wanted = replace(wanted, fine_tune="none", epochs=0)
        cost = _seconds(wanted, pace, sample)
        note = "its last layer alone is trained: the time is not enough for more"
    return {0: _finalist(first, wanted, cost, note)}


def _pace(one: _Probed, sample: _Sample) -> Pace:
    rows = np.arange(min(one.config.batch_size, len(sample.targets)), dtype=np.intp)
    images = ArrayImages(sample.images(one.config.image_size).take(rows))
    labels = tuple(map(str, range(sample.labels)))
    return measure_pace(
        one.config, Material(labels, images, sample.targets[rows], images, sample.targets[rows]), one.weights
    )


def _with_epochs(config: TrainingConfig, sample: _Sample) -> TrainingConfig:
    return replace(config, epochs=config.epochs or epochs_for(sample.training, config.alpha))


def _seconds(config: TrainingConfig, pace: Pace, sample: _Sample) -> float:
    """What a training takes: reading, the features for its last layer, compiling, epochs, validation."""
    small = small_epochs(config) if config.epochs and config.fine_tune != "none" else 0
    full = config.epochs - small if config.fine_tune != "none" else 0
    passes = small * (small_size(config) / config.image_size) ** 2 + full
    answers = (sample.training + sample.validation) + sample.validation * (small + full + 1)
    started = bool(small) + bool(full)
    photos = sample.training * passes + _ANSWER * answers
    return _READINGS * sample.reading_seconds + started * pace.start + pace.photo * photos


def _finalist(one: _Probed, config: TrainingConfig, seconds: float, note: str) -> BackboneCandidate:
    name = config.backbone
    return BackboneCandidate(
        name, _named(one.weights), one.accuracy, config.to_document(), round(seconds / 60, 1), note=note
    )


def _size(config: TrainingConfig) -> int:
    return config.image_size or find_backbone(config.backbone).image_size


def _named(weights: Path | None) -> str:
    return str(weights.absolute()) if weights else ""


def _line(choice: BackboneChoice) -> str:
    """What is trained, for how long, and what it was chosen from, in one line."""
    told = []
    for one in choice.finalists:
        epochs = (one.config or {}).get("epochs")
        what = f"{epochs} epochs" if epochs else "the last layer alone"
        told.append(f"{one.backbone} ({what}, about {math.ceil(one.minutes or 0)} minutes)")
    probed = [f"{one.backbone} {one.probe_accuracy:.3f}" for one in choice.candidates if one.probe_accuracy is not None]
    return f"training {' and '.join(told)}; a linear layer on frozen features is right on: {', '.join(probed)}"
