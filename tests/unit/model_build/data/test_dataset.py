from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier.errors import UserError
from model_build.data.dataset import Photo, Split, scan, split_photos
from tests.unit.model_build.photos import write_photos


def split_of(photos: tuple[Photo, ...], seed: int = 7) -> Split:
    return split_photos(photos, validation_fraction=0.15, test_fraction=0.2, seed=seed, source="data")


def test_folders_are_classes_and_hidden_files_do_not_count(tmp_path: Path) -> None:
    write_photos(tmp_path, {"b": 2, "a": 1, "a/more": 1, ".cache": 3})
    (tmp_path / "b" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "readme.txt").write_text("not in a class folder")
    found = scan(tmp_path)
    assert found.labels == ("a", "b")
    assert [photo.name for photo in found.photos] == ["a/000.png", "a/more/000.png", "b/000.png", "b/001.png"]
    assert not any(photo.split for photo in found.photos)


@pytest.mark.parametrize("validation", ["validation", "valid", "val"])
def test_given_splits_are_kept(tmp_path: Path, validation: str) -> None:
    write_photos(tmp_path, {f"{split}/{label}": 2 for split in ("train", validation, "test") for label in "ab"})
    split = split_of(scan(tmp_path).photos)
    assert {name: len(photos) for name, photos in split.photos.items()} == {"train": 4, "validation": 4, "test": 4}
    assert all(photo.name.startswith(f"{validation}/") for photo in split.photos["validation"])


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("seg_train", "seg_test"),
        ("training", "testing"),
        ("Train", "Test"),
        ("seg_train/seg_train", "seg_test/seg_test"),
    ],
)
def test_splits_go_by_the_names_that_archives_use(tmp_path: Path, train: str, test: str) -> None:
    write_photos(tmp_path, {f"{split}/{label}": 2 for split in (train, test) for label in "ab"})
    found = scan(tmp_path)
    assert found.labels == ("a", "b")
    assert Counter(photo.split for photo in found.photos) == {"train": 4, "test": 4}


def test_photos_without_labels_beside_the_splits_take_no_part(tmp_path: Path) -> None:
    write_photos(tmp_path, {"seg_train/a": 2, "seg_train/b": 2, "seg_pred/seg_pred": 3})
    assert len(scan(tmp_path).photos) == 4


def test_a_missing_validation_folder_is_cut_from_training(tmp_path: Path) -> None:
    write_photos(tmp_path, {"train/a": 10, "train/b": 10, "test/a": 3, "test/b": 3})
    split = split_of(scan(tmp_path).photos)
    assert {name: len(photos) for name, photos in split.photos.items()} == {"train": 16, "validation": 4, "test": 6}
    assert all(photo.name.startswith("train/") for photo in split.photos["validation"])


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    write_photos(tmp_path, {"bus": 3, "train": 3})
    assert scan(tmp_path).labels == ("bus", "train")


def test_the_split_is_stratified_disjoint_and_fixed_by_the_seed(tmp_path: Path) -> None:
    photos = scan(write_photos(tmp_path, {"a": 100, "b": 20, "c": 3})).photos
    split = split_of(photos)
    counts = {name: Counter(photo.label for photo in members) for name, members in split.photos.items()}
    assert counts["test"] == {"a": 20, "b": 4, "c": 1}
    assert counts["validation"] == {"a": 15, "b": 3, "c": 1}
    names = [photo.name for members in split.photos.values() for photo in members]
    assert sorted(names) == sorted(photo.name for photo in photos)
    assert split == split_of(tuple(reversed(photos)))
    assert split != split_of(photos, seed=8)


def test_split_json_brings_the_photos_back_from_wherever_they_are(tmp_path: Path) -> None:
    root = write_photos(tmp_path / "here", {"a": 5, "b": 5})
    document = split_of(scan(root).photos).to_document()
    moved = shutil.move(root, tmp_path / "there")
    again = Split.from_document(document, Path(moved))
    assert again.to_document() == document
    assert all(photo.path.is_file() for members in again.photos.values() for photo in members)


def test_missing_empty_and_classless_folders_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        scan(tmp_path / "nowhere")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(UserError, match="is not a folder"):
        scan(tmp_path / "file")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="no class folders"):
        scan(empty)
    (empty / "a").mkdir()
    with pytest.raises(UserError, match="contain no files"):
        scan(empty)


def test_a_stray_folder_beside_the_splits_is_named(tmp_path: Path) -> None:
    write_photos(tmp_path, {"train/a": 3, "train/b": 3, "holiday/a": 3})
    with pytest.raises(UserError, match="'holiday'"):
        scan(tmp_path)


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="only the class 'a'"):
        split_of(scan(write_photos(tmp_path, {"a": 5})).photos)


def test_no_readable_photo_is_not_enough() -> None:
    with pytest.raises(UserError, match="no readable photo"):
        split_of(())


@pytest.mark.parametrize("count", [1, 2])
def test_a_class_that_cannot_be_split_is_named(tmp_path: Path, count: int) -> None:
    with pytest.raises(UserError, match=f"class 'rare' of data has {count} readable photo.* cannot be split"):
        split_of(scan(write_photos(tmp_path, {"a": 5, "rare": count})).photos)


def test_a_class_without_training_photos_is_named(tmp_path: Path) -> None:
    write_photos(tmp_path, {"train/a": 5, "train/b": 5, "test/a": 2, "test/c": 2, "val/a": 1})
    with pytest.raises(UserError, match=r"class 'c'.*has 0 readable photos to train on"):
        split_of(scan(tmp_path).photos)


def copied(pictures: int, copies: int) -> tuple[tuple[Photo, ...], list[list[int]]]:
    """For each of two classes ``pictures`` photos, each of them ``copies`` times."""
    photos = tuple(
        Photo(Path(label, f"{n:03d}-{copy}"), f"{label}/{n:03d}-{copy}", label)
        for label in "ab"
        for n in range(pictures)
        for copy in range(copies)
    )
    return photos, [list(range(start, start + copies)) for start in range(0, len(photos), copies)]


@given(
    pictures=st.integers(3, 30), copies=st.integers(1, 6), test=st.floats(0.01, 0.5), validation=st.floats(0.01, 0.4)
)
def test_copies_go_to_one_split_and_every_class_to_all(
    pictures: int, copies: int, test: float, validation: float
) -> None:
    photos, groups = copied(pictures, copies)
    split = split_photos(
        photos, validation_fraction=validation, test_fraction=test, seed=3, source="data", copies=groups
    )
    where = {photo.name: name for name, part in split.photos.items() for photo in part}
    assert len(where) == len(photos)
    assert all(len({where[photos[row].name] for row in group}) == 1 for group in groups)
    assert all({photo.label for photo in part} == {"a", "b"} for part in split.photos.values())


def test_without_copies_the_split_is_what_it_was() -> None:
    photos, _ = copied(40, 1)
    alone = [[row] for row in range(len(photos))]
    again = split_photos(photos, validation_fraction=0.15, test_fraction=0.2, seed=7, source="data", copies=alone)
    assert again == split_of(photos)
    assert {name: len(part) for name, part in again.photos.items()} == {"train": 52, "validation": 12, "test": 16}


def test_one_picture_under_two_labels_is_trained_on_and_measures_nothing() -> None:
    photos, _ = copied(10, 1)
    pairs = [[row, row + 10] for row in range(5)]
    split = split_photos(photos, validation_fraction=0.2, test_fraction=0.2, seed=7, source="data", copies=pairs)
    assert {photos[row] for pair in pairs for row in pair} <= set(split.photos["train"])


def test_a_class_of_copies_cannot_be_split_and_is_named() -> None:
    photos, groups = copied(2, 5)
    with pytest.raises(UserError, match="10 readable photos to train on, copies of 2 different pictures, and cannot"):
        split_photos(photos, validation_fraction=0.2, test_fraction=0.2, seed=7, source="data", copies=groups)


def test_two_folders_whose_names_read_the_same_are_refused() -> None:
    photos = tuple(Photo(Path("x"), f"{label}/{n}", label) for label in ("caf\u00e9", "cafe\u0301") for n in range(5))
    with pytest.raises(UserError, match="two class folders whose names read"):
        split_of(photos)
