"""Which photos of a data set probably have a wrong label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier.errors import UserError
from classifier.imaging import DRAFT_MARGIN
from model_build.data.dataset import Photo, scan
from model_build.data.tensors import store_photos, targets_of
from model_build.inspection.facts import FactsCache, PhotoFacts
from model_build.inspection.label_errors import HeldOutScores, margins
from model_build.inspection.reading import read_photos
from model_build.inspection.relabelling import COLUMNS
from model_build.native import load_tensorflow
from model_build.training.backbones import find_backbone
from model_build.training.choosing import features_key, load_network
from model_build.training.config import TrainingConfig
from model_build.training.observers import Watcher
from model_build.training.predicting import predict_logits
from model_build.training.probing import cached_features
from model_build.training.weights import configured

NETWORKS = ("efficientnet_lite0", "mobilenet_v2")
"""Whose features are used: the first whose weights can be had."""

Features = Callable[[Sequence[Photo], Sequence[str]], tuple[str, NDArray[np.float32]]]
"""(photos, sha256 digests of their content) -> what made the features, and those, (photos, features)."""


@dataclass(frozen=True)
class DoubtfulLabel:
    """A photo whose label is probably wrong.

    Attributes:
        likely: the other label that fits best.
        label_score, likely_score: of the photo's own label and the likely one, about 0 to 1, by a layer fitted on the
            other photos.
    """

    facts: PhotoFacts
    likely: str
    label_score: float
    likely_score: float

    def to_document(self) -> dict[str, Any]:
        return {
            "photo": self.facts.name,
            "label": self.facts.label,
            "likely": self.likely,
            "label_score": round(self.label_score, 4),
            "likely_score": round(self.likely_score, 4),
        }


@dataclass(frozen=True)
class LabelCheck:
    """Attributes:
    source: the data set as the person named it.
    network: whose features were used.
    photos: that were judged; ``unreadable`` files were not.
    doubtful: photos in which another label scores higher than their own.
    listed: the most doubtful ones, first the worst.
    noticed: of labels changed at random as a trial, the share noticed
        (:meth:`model_build.inspection.label_errors.HeldOutScores.noticed`); None for too few photos.
    """

    source: str
    network: str
    labels: tuple[str, ...]
    photos: int
    unreadable: int
    doubtful: int
    listed: tuple[DoubtfulLabel, ...]
    noticed: float | None

    def to_document(self) -> dict[str, Any]:
        return {
            "schema_version": "1",
            "source": self.source,
            "network": self.network,
            "photos": self.photos,
            "unreadable": self.unreadable,
            "doubtful": self.doubtful,
            "noticed": self.noticed,
            "listed": [one.to_document() for one in self.listed],
        }

    def undecided(self) -> list[tuple[str, ...]]:
        """Head and rows of a file of decisions (see :mod:`model_build.inspection.relabelling`), still to be made."""
        return [COLUMNS, *((one.facts.name, one.facts.label, one.likely, "", "") for one in self.listed)]


def check_labels(
    source: str, root: Path, facts: FactsCache, features: Features, *, limit: int, watcher: Watcher
) -> LabelCheck:
    """Judge every readable photo of the folder ``root``, which the person knows as ``source``, by the others.

    Args:
        limit: photos to list at most.

    Raises:
        UserError: the folder cannot be read, it has fewer than two classes with photos, or what ``features`` raises.
    """
    try:
        folder = scan(root)
    except OSError as error:
        raise UserError(f"{error.filename or source} cannot be read: {error.strerror}") from None
    watcher.step("reading photos")
    reading = read_photos(folder, facts, watcher.progress)
    labels = tuple(sorted({one.label for one in reading.photos}))
    if len(labels) < 2:
        found = f"readable photos in the class {labels[0]!r} only" if labels else "no readable photo"
        raise UserError(f"{source} has {found}; labels can be judged where there are at least two classes")
    # In the order of their content: photos that are moved keep their features.
    unique = {one.measured.sha256: one.photo for one in reading.photos}
    digests = sorted(unique)
    place = {digest: row for row, digest in enumerate(digests)}
    network, values = features([unique[digest] for digest in digests], digests)
    watcher.step("judging labels")
    copies = np.array([place[one.measured.sha256] for one in reading.photos], dtype=np.int64)
    targets = targets_of([one.photo for one in reading.photos], labels)
    held_out = HeldOutScores(values[copies], copies)
    scores = held_out.of(targets, len(labels))
    margin, likely = margins(scores, targets)
    doubtful = [int(row) for row in np.argsort(margin, kind="stable") if margin[row] < 0]
    listed = tuple(
        DoubtfulLabel(
            reading.photos[row], labels[likely[row]], float(scores[row, targets[row]]), float(scores[row, likely[row]])
        )
        for row in doubtful[:limit]
    )
    again = held_out.noticed(targets, len(labels))
    total, unreadable = len(reading.photos), len(reading.unreadable)
    return LabelCheck(source, network, labels, total, unreadable, len(doubtful), listed, again)


def network_features(backbone: str | None, weights: Path | None, cache: Path, watcher: Watcher) -> Features:
    """Features of a pretrained network, kept in ``cache``.

    Args:
        backbone: None takes the network that ``weights`` fit, and without weights the first of :data:`NETWORKS` whose
            weights can be had.

    Raises:
        UserError: an unknown network, or weights that cannot be read. The result raises it where no network's weights
            can be had, or a photo has changed.
    """
    names: tuple[str | None, ...] = (backbone,) if backbone or weights else NETWORKS
    configs = [configured(None, {"backbone": name}, weights) for name in names]
    untrained = [config.backbone for config in configs if not (weights or find_backbone(config.backbone).pretrained)]
    if untrained:
        raise UserError(f"{untrained[0]} has no pretrained weights; give --weights FILE or name another network")

    def compute(photos: Sequence[Photo], digests: Sequence[str]) -> tuple[str, NDArray[np.float32]]:
        left_out = []
        for config in configs:
            sized = replace(config, image_size=find_backbone(config.backbone).image_size)
            try:
                return config.backbone, _features(sized, weights, photos, digests, cache, watcher)
            except UserError as error:
                if len(configs) == 1:
                    raise
                left_out.append(f"{config.backbone} is left out: {error}")
                watcher.say(left_out[-1])
        raise UserError("no network's features can be had:\n  " + "\n  ".join(left_out))

    return compute


def _features(
    config: TrainingConfig,
    weights: Path | None,
    photos: Sequence[Photo],
    digests: Sequence[str],
    cache: Path,
    watcher: Watcher,
) -> NDArray[np.float32]:
    def compute() -> NDArray[np.float32]:
        watcher.step(f"loading {config.backbone}")
        network = with_centre(load_network(config, weights))
        with TemporaryDirectory(prefix="bucketlens-") as scratch:
            watcher.step("reading photos")
            stored, _ = store_photos(
                photos,
                Path(scratch) / "photos",
                size=config.image_size,
                policy=config.policy,
                draft_margin=DRAFT_MARGIN,
                progress=watcher.progress,
            )
            changed = set(digests).difference(stored.sha256)
            if changed:
                name = next(photo.name for photo, one in zip(photos, digests, strict=True) if one in changed)
                raise UserError(f"{name} has changed while it was read; run the command again")
            watcher.step(f"computing features with {config.backbone}")
            return predict_logits(network, stored.images, watcher.progress)

    return cached_features(cache / "features", ("centre", *features_key(config, weights), *digests), compute)


def with_centre(network: Any) -> Any:
    """``network`` (:func:`model_build.training.backbones.build_backbone`) with twice as many features: the mean of its
    last feature map, and that of the middle 3 / 7 of its sides, which is where the object is in most photos."""
    _, keras = load_tensorflow()
    feature_map = network.get_layer("features").input
    middle = keras.layers.Cropping2D(feature_map.shape[1] * 2 // 7)(feature_map)
    centre = keras.layers.GlobalAveragePooling2D()(middle)
    return keras.Model(network.input, keras.layers.Concatenate()([network.output, centre]))
