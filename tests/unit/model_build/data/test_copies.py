"""Copies of a photo never lie on two sides of the split that training makes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from classifier.imaging import DRAFT_MARGIN, ResizePolicy
from model_build.data.dataset import Split, scan, split_photos
from model_build.data.tensors import store_photos
from tests.unit.model_build.inspection.scenes import encoded, scene, write


def split_of(root: Path, scratch: Path, policy: ResizePolicy = ResizePolicy.STRETCH, size: int = 64) -> Split:
    """As training splits a folder that has no splits."""
    stored, unreadable = store_photos(
        scan(root).photos, scratch / "pixels", size=size, policy=policy, draft_margin=DRAFT_MARGIN
    )
    assert not unreadable
    return split_photos(
        stored.photos,
        validation_fraction=0.15,
        test_fraction=0.2,
        seed=7,
        source=str(root),
        copies=stored.copies(policy),
    )


def test_no_test_photo_has_its_twin_in_training(tmp_path: Path) -> None:
    photos = {f"{'ab'[n % 2]}/{n:03d}{twin}.png": encoded(scene(n)) for n in range(80) for twin in ("", "-copy")}
    split = split_of(write(tmp_path / "data", photos), tmp_path)
    digests = {
        name: {hashlib.sha256(photo.path.read_bytes()).hexdigest() for photo in part}
        for name, part in split.photos.items()
    }
    assert not digests["test"] & digests["train"]
    assert not digests["validation"] & (digests["train"] | digests["test"])
    assert {name: len(part) for name, part in split.photos.items()} == {"train": 104, "validation": 24, "test": 32}


@pytest.mark.parametrize(
    ("policy", "size"), [(ResizePolicy.STRETCH, 32), (ResizePolicy.STRETCH, 96), (ResizePolicy.PAD, 64)]
)
def test_copies_that_were_resized_or_encoded_again_stay_together(
    tmp_path: Path, policy: ResizePolicy, size: int
) -> None:
    photos = {}
    for n in range(24):
        photos[f"{'ab'[n % 2]}/{n:03d}.png"] = encoded(scene(n))
        photos[f"{'ab'[n % 2]}/{n:03d}-small.jpg"] = encoded(scene(n).resize((80, 60)), "JPEG", quality=60)
    split = split_of(write(tmp_path / "data", photos), tmp_path, policy, size)
    where = {photo.path.name: name for name, part in split.photos.items() for photo in part}
    assert all(where[f"{n:03d}.png"] == where[f"{n:03d}-small.jpg"] for n in range(24))
    assert set(where.values()) == {"train", "validation", "test"}


def test_equal_borders_do_not_make_different_photos_copies(tmp_path: Path) -> None:
    photos = {f"{'ab'[n % 2]}/{n:03d}.png": encoded(scene(n, (240, 60))) for n in range(12)}
    stored, _ = store_photos(
        scan(write(tmp_path / "data", photos)).photos,
        tmp_path / "pixels",
        size=64,
        policy=ResizePolicy.PAD,
        draft_margin=DRAFT_MARGIN,
    )
    assert stored.copies(ResizePolicy.PAD) == []
