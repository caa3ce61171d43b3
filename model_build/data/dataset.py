"""The photos of a data set, with or without train / validation / test above the classes, and their split into those."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
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


def label_key(label: str) -> str:
    """Equal for labels that read the same: without space around them, in Unicode's composed form (NFC)."""
    return unicodedata.normalize("NFC", label.strip())


def duplicate_label(labels: Iterable[str]) -> str | None:
    """A label that reads like one before it; None where all differ."""
    seen: set[str] = set()
    for label in labels:
        if label_key(label) in seen:
            return label
        seen.add(label_key(label))
    return None


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
    photos: Sequence[Photo],
    *,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    source: str,
    copies: Iterable[Sequence[int]] = (),
) -> Split:
    """Split readable ``photos`` by class; folders that the data set has already are kept, missing ones are cut from
    its training photos.

    Every class gets at least one photo in each split that is cut. Copies of a picture go to one split together, as a
    photo whose copy was trained on measures nothing; copies under different labels train. The result depends on the
    names, the copies and the seed only.

    Args:
        copies: groups of positions in ``photos``, no photo in two of them.

    Raises:
        UserError: fewer than two classes, a class too small to be split (named), or a class that never trains.
    """
    labels = tuple(sorted({photo.label for photo in photos}))
    if len(labels) < 2:
        found = f"only the class {labels[0]!r}" if labels else "no readable photo"
        raise UserError(f"{source} has {found}; a classifier needs at least two classes with photos")
    twice = duplicate_label(labels)
    if twice is not None:
        raise UserError(f"{source} has two class folders whose names read {twice!r}; rename one, or merge them")
    given: dict[str, list[Photo]] = {name: [] for name in SPLITS}
    for photo in photos:
        given[photo.split or TRAIN].append(photo)
    fractions = {TEST: test_fraction, VALIDATION: validation_fraction}
    to_cut = {name: share for name, share in fractions.items() if not given[name]}
    group_of = {photos[row].name: number for number, group in enumerate(copies) for row in group}
    labels_of: dict[int, set[str]] = defaultdict(set)
    for photo in given[TRAIN]:
        if photo.name in group_of:
            labels_of[group_of[photo.name]].add(photo.label)
    rng = np.random.default_rng(seed)
    result: dict[str, list[Photo]] = {name: [] if name in to_cut or name == TRAIN else given[name] for name in SPLITS}
    for label in labels:
        members = sorted((photo for photo in given[TRAIN] if photo.label == label), key=lambda photo: photo.name)
        pictures: dict[int | str, list[Photo]] = defaultdict(list)
        for position in rng.permutation(len(members)):
            photo = members[position]
            group = group_of.get(photo.name)
            if group is not None and len(labels_of[group]) > 1:
                result[TRAIN].append(photo)
            else:
                pictures[photo.name if group is None else group].append(photo)
        left = list(pictures.values())
        _require_enough(label, len(members), len(left), to_cut, source)
        for position, (name, share) in enumerate(to_cut.items()):
            # Of what is there, as many photos as the share says, and a picture for every split still to come.
            part, left = _cut(left, round(share * len(members)), keep=len(to_cut) - position)
            result[name] += [photo for picture in part for photo in picture]
        result[TRAIN] += [photo for picture in left for photo in picture]
    return Split(labels, {name: tuple(sorted(result[name], key=lambda photo: photo.name)) for name in SPLITS})


def _require_enough(label: str, photos: int, pictures: int, to_cut: Iterable[str], source: str) -> None:
    """``pictures``: what the ``photos`` of a class show, copies not counted. Raises UserError."""
    parts = ["training", *to_cut]
    if (pictures if len(parts) > 1 else photos) >= len(parts):
        return
    counted = "1 readable photo" if photos == 1 else f"{photos} readable photos"
    copied = f", copies of {pictures} different pictures," if pictures < photos else ""
    raise UserError(
        f"class {label!r} of {source} has {counted} to train on{copied} and cannot be split; add photos until it has at"
        f" least {len(parts)} (one each for {' and '.join(parts)}), or remove its folder"
    )


def _cut(pictures: Sequence[list[Photo]], size: int, *, keep: int) -> tuple[list[list[Photo]], list[list[Photo]]]:
    """In their order, those that fit into ``size`` photos, at least one and all but ``keep``; and the others."""
    part: list[list[Photo]] = []
    rest: list[list[Photo]] = []
    room = size
    for picture in pictures:
        fits = len(picture) <= room and len(part) < len(pictures) - keep
        (part if fits else rest).append(picture)
        room -= len(picture) if fits else 0
    if not part:
        smallest = min(range(len(rest)), key=lambda position: len(rest[position]))
        part.append(rest.pop(smallest))
    return part, rest
