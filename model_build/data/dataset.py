"""A folder of labelled photos: one folder per class, with or without train / validation / test above them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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

    @property
    def has_splits(self) -> bool:
        return any(photo.split for photo in self.photos)


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
        raise UserError(f"the class folders of {root} hold no files")
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
