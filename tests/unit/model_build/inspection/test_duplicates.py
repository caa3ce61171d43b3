from __future__ import annotations

from pathlib import Path

from PIL import Image

from model_build.inspection.inspection import Inspection
from tests.unit.model_build.inspection.scenes import codes, encoded, inspected, scene, scenes


def files(inspection: Inspection, code: str) -> tuple[str, ...]:
    return next(finding.files for finding in inspection.findings if finding.code == code)


def test_exact_and_near_copies_are_told_apart(tmp_path: Path) -> None:
    photos = scenes({"a": 20, "b": 20})
    photos["a/exact.png"] = photos["a/000.png"]
    photos["b/near.jpg"] = encoded(scene(20).resize((80, 60)), "JPEG")
    found = inspected(tmp_path, photos).evidence.duplicates
    assert [[photo.name for photo in group.photos] for group in found.exact] == [["a/000.png", "a/exact.png"]]
    assert [[photo.name for photo in group.photos] for group in found.near] == [["b/000.png", "b/near.jpg"]]
    assert found.near[0].correlation < found.exact[0].correlation == 1


def test_copies_of_a_copy_are_one_group_and_exact_ones_among_them_are_named_in_both(tmp_path: Path) -> None:
    photos = scenes({"a": 3, "b": 3})
    photos["a/same.png"] = photos["a/000.png"]
    for quality in (90, 60, 30):
        photos[f"a/q{quality}.jpg"] = encoded(scene(0), "JPEG", quality=quality)
    found = inspected(tmp_path, photos).evidence.duplicates
    assert [[photo.name for photo in group.photos] for group in found.near] == [
        ["a/000.png", "a/q30.jpg", "a/q60.jpg", "a/q90.jpg", "a/same.png"]
    ]
    assert [[photo.name for photo in group.photos] for group in found.exact] == [["a/000.png", "a/same.png"]]


def test_a_leak_is_what_validates_or_tests_and_is_counted_once(tmp_path: Path) -> None:
    photos = scenes({f"{split}/{label}": 20 for split in ("train", "validation", "test") for label in "ab"})
    photos["test/a/exact.png"] = photos["train/a/000.png"]
    photos["train/a/near.jpg"] = encoded(scene(0), "JPEG")
    photos["validation/b/near.webp"] = encoded(scene(20), "WEBP", quality=50)
    inspection = inspected(tmp_path, photos)
    assert files(inspection, "leak.exact") == ("test/a/exact.png",)
    assert files(inspection, "leak.near") == ("validation/b/near.webp",)
    assert codes(inspection)["leak.exact"] == "stop"
    assert codes(inspection)["leak.near"] == "fix"
    assert inspection.verdict.startswith("Not ready")


def test_copies_of_validation_photos_leak_into_the_test(tmp_path: Path) -> None:
    photos = scenes({f"{split}/{label}": 20 for split in ("train", "validation", "test") for label in "ab"})
    photos["validation/a/copy.png"] = photos["test/a/000.png"]
    assert files(inspected(tmp_path, photos), "leak.exact") == ("validation/a/copy.png",)


def test_one_picture_under_two_labels_is_a_conflict(tmp_path: Path) -> None:
    photos = scenes({"cat": 25, "dog": 25})
    photos["dog/wrong.png"] = photos["cat/000.png"]
    photos["dog/similar.jpg"] = encoded(scene(1), "JPEG")
    inspection = inspected(tmp_path, photos)
    assert files(inspection, "labels.conflict_exact") == ("cat/000.png", "dog/wrong.png")
    assert files(inspection, "labels.conflict_near") == ("cat/001.png", "dog/similar.jpg")
    assert "duplicates.exact" not in codes(inspection), "it is told as a conflict"


def test_blank_photos_are_named_and_are_no_copies_of_each_other(tmp_path: Path) -> None:
    photos = scenes({"a": 20, "b": 20})
    photos["a/white.png"] = Image.new("RGB", (60, 60), "white")
    photos["b/grey.png"] = Image.new("RGB", (60, 60), (128, 128, 128))
    inspection = inspected(tmp_path, photos)
    assert files(inspection, "photos.blank") == ("a/white.png", "b/grey.png")
    assert inspection.evidence.duplicates.near == ()


def test_different_photos_are_no_copies(tmp_path: Path) -> None:
    found = inspected(tmp_path, scenes({"a": 60, "b": 60})).evidence.duplicates
    assert (found.exact, found.near, found.blank) == ((), (), ())
