from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from classifier.imaging import DRAFT_MARGINS, ResizePolicy, decode
from model_build.data.dataset import scan
from model_build.data.tensors import decode_photos
from tests.unit.model_build.photos import COLOURS, photo, write_photos


@pytest.mark.parametrize("draft_margin", DRAFT_MARGINS)
@pytest.mark.parametrize("policy", list(ResizePolicy))
def test_rows_are_what_imaging_gives_in_the_order_of_the_photos(
    tmp_path: Path, policy: ResizePolicy, draft_margin: int
) -> None:
    write_photos(tmp_path, {"a": 20, "b": 20})
    (tmp_path / "b" / "large.jpg").write_bytes(photo(COLOURS["red"], size=48, kind="JPEG"))
    photos = scan(tmp_path).photos
    how: dict[str, Any] = {"height": 24, "width": 24, "policy": policy, "draft_margin": draft_margin}
    tensors, unreadable = decode_photos(photos, **how)
    assert not unreadable
    assert tensors.photos == photos
    for one, image in zip(photos, tensors.images, strict=True):
        expected = decode(one.path.read_bytes(), **how).tensor
        assert image.tobytes() == expected.tobytes()


def test_unreadable_files_are_named_with_code_and_reason(tmp_path: Path) -> None:
    write_photos(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "a" / "notes.txt").write_text("milk, eggs")
    (tmp_path / "a" / "nothing.jpg").write_bytes(b"")
    (tmp_path / "b" / "half.jpg").write_bytes(photo(COLOURS["red"], kind="JPEG")[:300])
    (tmp_path / "b" / "gone.png").symlink_to(tmp_path / "nowhere")
    steps: list[tuple[int, int]] = []
    tensors, unreadable = decode_photos(
        scan(tmp_path).photos,
        height=8,
        width=8,
        policy=ResizePolicy.STRETCH,
        draft_margin=1,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert {one.name: one.code for one in unreadable} == {
        "a/notes.txt": "image.unsupported_format",
        "a/nothing.jpg": "image.empty",
        "b/half.jpg": "image.corrupt",
    }
    assert all(one.reason for one in unreadable)
    assert [one.name for one in tensors.photos] == ["a/000.png", "a/001.png", "b/000.png", "b/001.png"]
    assert tensors.images.shape == (4, 8, 8, 3)
    assert steps[-1] == (7, 7)


def test_the_fingerprint_depends_on_names_and_contents_alone(tmp_path: Path) -> None:
    def fingerprint(root: Path, size: int = 8) -> str:
        photos = scan(root).photos
        tensors, _ = decode_photos(photos, height=size, width=size, policy=ResizePolicy.STRETCH, draft_margin=1)
        return tensors.fingerprint

    first = fingerprint(write_photos(tmp_path / "one", {"a": 3, "b": 3}))
    assert first == fingerprint(write_photos(tmp_path / "two", {"a": 3, "b": 3}), size=16)
    (tmp_path / "two" / "a" / "000.png").write_bytes(photo(COLOURS["blue"], seed=99))
    assert first != fingerprint(tmp_path / "two")


def test_targets_follow_the_labels_given(tmp_path: Path) -> None:
    photos = scan(write_photos(tmp_path, {"a": 1, "b": 2})).photos
    tensors, _ = decode_photos(photos, height=8, width=8, policy=ResizePolicy.STRETCH, draft_margin=1)
    assert tensors.targets(["b", "x", "a"]).tolist() == [2, 0, 0]
