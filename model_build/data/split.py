"""Which photo trains, which validates, which tests: stratified, seeded, and written down with the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from classifier.errors import UserError
from model_build.data.dataset import SPLITS, TEST, TRAIN, VALIDATION, Photo


@dataclass(frozen=True)
class Split:
    """Photos by split. ``labels`` are in the model's output order."""

    labels: tuple[str, ...]
    photos: dict[str, tuple[Photo, ...]]

    def to_document(self) -> dict[str, Any]:
        """``split.json``: for each split, the photos' relative paths and labels."""
        return {
            "schema_version": "1",
            "labels": list(self.labels),
            **{name: [{"path": p.name, "label": p.label} for p in self.photos[name]] for name in SPLITS},
        }

    @classmethod
    def from_document(cls, document: dict[str, Any], root: Any) -> Self:
        """``root`` is the data set's folder, to which the paths are relative."""
        return cls(
            tuple(document["labels"]),
            {
                name: tuple(Photo(root / p["path"], p["path"], p["label"], name) for p in document[name])
                for name in SPLITS
            },
        )


def split_photos(
    photos: Sequence[Photo], *, validation_fraction: float, test_fraction: float, seed: int, source: str
) -> Split:
    """Split readable ``photos`` by class; folders that the data set has already are kept, missing ones are cut from
    its training photos.

    Every class gets at least one photo in each split that is cut. The result depends on the names and the seed only.

    Raises:
        UserError: fewer than two classes, a class too small to be split (named), or a class that never trains.
    """
    labels = tuple(sorted({photo.label for photo in photos}))
    if len(labels) < 2:
        found = f"only the class {labels[0]!r}" if labels else "no readable photo"
        raise UserError(f"{source} has {found}; a classifier needs at least two classes with photos")
    given: dict[str, list[Photo]] = {name: [] for name in SPLITS}
    for photo in photos:
        given[photo.split or TRAIN].append(photo)
    fractions = {TEST: test_fraction, VALIDATION: validation_fraction}
    to_cut = {name: share for name, share in fractions.items() if not given[name]}
    counts = Counter(photo.label for photo in given[TRAIN])
    needed = 1 + len(to_cut)
    for label in labels:
        if counts[label] < needed:
            parts = " and ".join(["training", *to_cut])
            photos_of_class = "1 readable photo" if counts[label] == 1 else f"{counts[label]} readable photos"
            raise UserError(
                f"class {label!r} of {source} has {photos_of_class} to train on and cannot be split;"
                f" add photos until it has at least {needed} (one each for {parts}), or remove its folder"
            )
    rng = np.random.default_rng(seed)
    result: dict[str, list[Photo]] = {name: [] if name in to_cut or name == TRAIN else given[name] for name in SPLITS}
    for label in labels:
        members = sorted((photo for photo in given[TRAIN] if photo.label == label), key=lambda photo: photo.name)
        order = [members[position] for position in rng.permutation(len(members))]
        left = len(to_cut)
        for name, share in to_cut.items():
            left -= 1
            # Of what is there, as many photos as the share says, and one for every split still to come.
            size = min(max(1, round(share * len(members))), len(order) - 1 - left)
            result[name] += order[:size]
            order = order[size:]
        result[TRAIN] += order
    return Split(labels, {name: tuple(sorted(result[name], key=lambda photo: photo.name)) for name in SPLITS})
