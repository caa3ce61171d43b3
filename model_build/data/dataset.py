"""The photos of a data set, with or without train / validation / test above the classes, and their split into those."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from classifier.errors import UserError

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)
_FOLDERS_OF_SPLIT = {
    TRAIN: ("train", "training", "seg_train"),
    VALIDATION: ("validation", "valid", "val", "seg_val"),
    TEST: ("test", "testing", "seg_test"),
}
_SPLIT_OF_FOLDER = {folder: split for split, folders in _FOLDERS_OF_SPLIT.items() for folder in folders}
_UNLABELLED = "seg_pred"  # the "Intel scenes" data set has it beside seg_train and seg_test


@dataclass(frozen=True)
class Photo:
    """A file with a label.

    Attributes:
        path: where it lies.
        name: the same relative to the data set's folder, with forward slashes: how it is called in messages and files.
        label: its class, the name of its folder.
        split: ``train``, ``validation`` or ``test`` where the data set's own folders say so.
    """

    path: Path
    name: str
    label: str
    split: str | None = None


@dataclass(frozen=True)
class PhotoFolder:
    """A data set as found on disk. ``labels`` are sorted by name; ``photos`` by name."""

    root: Path
    labels: tuple[str, ...]
    photos: tuple[Photo, ...]


def scan(root: Path) -> PhotoFolder:
    """Find the photos of ``root``. Every file counts, whatever its suffix, except hidden ones; nothing is opened.

    The folder is taken as already split if it has a ``train`` folder with class folders in it; ``training`` and
    ``seg_train`` mean the same, as ``valid``, ``val``, ``testing``, ``seg_test`` do, in any case of letters. Class
    folders may lie one level deeper, in ``seg_train/seg_train``, as some archives unpack. A folder below a class folder
    belongs to that class.

    Raises:
        UserError: no such folder, no class folders, or no files in them.
    """
    if not root.is_dir():
        raise UserError(f"the data folder {root} {'is not a folder' if root.exists() else 'does not exist'}")
    folders = _subfolders(root)
    if not folders:
        raise UserError(f"{root} has no class folders; put the photos of each class into a folder named after it")
    photos: list[Photo] = []
    if any(_split_of(folder) == TRAIN and _subfolders(folder) for folder in folders):
        for folder in folders:
            split = _split_of(folder)
            if split is None and folder.name.lower() == _UNLABELLED:
                continue
            if split is None:
                raise UserError(
                    f"{root} is split into train, validation and test, and also has a folder {folder.name!r};"
                    " move it elsewhere"
                )
            photos += [photo for one in _class_folders(folder) for photo in _photos(root, one, split)]
    else:
        photos = [photo for folder in folders for photo in _photos(root, folder, None)]
    if not photos:
        raise UserError(f"the class folders of {root} contain no files")
    return PhotoFolder(root, tuple(sorted({photo.label for photo in photos})), tuple(photos))


def _split_of(folder: Path) -> str | None:
    return _SPLIT_OF_FOLDER.get(folder.name.lower())


def _class_folders(folder: Path) -> list[Path]:
    """The class folders of a split's folder."""
    folders = _subfolders(folder)
    return _subfolders(folders[0]) if [one.name for one in folders] == [folder.name] else folders


def _subfolders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def _photos(root: Path, folder: Path, split: str | None) -> list[Photo]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [(path, path.relative_to(root)) for path in files]
    return [
        Photo(path, name.as_posix(), folder.name, split)
        for path, name in names
        if not any(part.startswith(".") for part in name.parts)
    ]


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
