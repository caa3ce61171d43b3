"""Labelled images on disk: original files under the decided label, only as they were looked at, resumable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bucketlens.annotations.examples import Example, decided
from bucketlens.annotations.export import ExportFormat, write
from bucketlens.reviews import Decision, Review
from classifier.errors import UserError
from model_build.data.dataset import scan
from tests.conftest import BUCKET, Aws
from tests.support.clients import Interposed
from tests.support.images import png


def stored(aws: Aws, key: str, label: str | None = "hat", seed: int = 0) -> Example:
    aws.put(key, png(seed=seed))
    etag = aws.s3.head_object(Bucket=BUCKET, Key=key)["ETag"].strip('"')
    return Example(f"s3://{BUCKET}/{key}", etag, label, "ann", "2026-11-21T10:00:00.000Z")


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_folder_per_class_that_training_takes(aws: Aws, tmp_path: Path) -> None:
    keys = {"incoming/a/tom.png": "hat", "incoming/b/tom.png": "hat", "incoming/weiß/Ö l.PNG": "dress"}
    examples = [stored(aws, key, label, seed) for seed, (key, label) in enumerate(keys.items())]
    assert not write(tmp_path / "out", examples, ExportFormat.FOLDERS, aws.s3)
    found = scan(tmp_path / "out")
    assert found.labels == ("dress", "hat")
    assert [photo.label for photo in found.photos] == ["dress", "hat", "hat"]
    contents = {photo.path.read_bytes() for photo in found.photos}
    assert contents == {png(seed=seed) for seed in range(3)}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_was_replaced_or_deleted_since_is_left_out_and_said(aws: Aws, tmp_path: Path) -> None:
    kept, replaced, deleted = (stored(aws, f"incoming/{at}.png", seed=at) for at in range(3))
    aws.put("incoming/1.png", png(seed=9))
    aws.s3.delete_object(Bucket=BUCKET, Key="incoming/2.png")
    missing = write(tmp_path / "out", [kept, replaced, deleted], ExportFormat.FOLDERS, aws.s3)
    assert sorted(missing) == ["the image has been deleted", "the image has been replaced since it was looked at"]
    assert files(tmp_path / "out") == [f"hat/{kept.name}"]


def test_an_interrupted_export_goes_on_and_drops_what_is_no_longer_wanted(aws: Aws, tmp_path: Path) -> None:
    examples = [stored(aws, f"incoming/{at:02}.png", seed=at) for at in range(20)]

    def fail_at_15(request: dict[str, Any]) -> None:
        if request["Key"] == "incoming/15.png":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "out", examples, ExportFormat.FOLDERS, Interposed(aws.s3, "get_object", fail_at_15))  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
    fetched: list[str] = []
    again = Interposed(aws.s3, "get_object", lambda request: fetched.append(request["Key"]))
    changed = [*examples[1:], Example(**{**vars(examples[0]), "label": "dress"})]
    assert not write(tmp_path / "out", changed, ExportFormat.FOLDERS, again)  # type: ignore[arg-type]
    assert files(tmp_path / "out") == sorted(f"{one.label}/{one.name}" for one in changed)
    assert 1 <= len(fetched) < 20
    assert {"incoming/00.png", "incoming/15.png"} <= set(fetched)


@pytest.mark.parametrize("label", ["a/b", "..", ".hidden", "x" * 300])
def test_a_label_that_is_no_folder_is_refused_before_anything_is_fetched(aws: Aws, tmp_path: Path, label: str) -> None:
    with pytest.raises(UserError, match="cannot be a folder's name"):
        write(tmp_path / "out", [stored(aws, "incoming/a.png", label)], ExportFormat.FOLDERS, aws.s3)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_files_is_left_alone(aws: Aws, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="already there"):
        write(tmp_path, [stored(aws, "incoming/a.png")], ExportFormat.FOLDERS, aws.s3)
    assert files(tmp_path) == ["mine.txt"]


@example("-", "0")
@given(st.text(st.characters(exclude_categories=[]), min_size=1, max_size=300), st.text("0123456789abcdef", min_size=1))
def test_a_name_is_one_that_every_system_takes(key: str, etag: str) -> None:
    name = Example(f"s3://b/{key}", etag).name
    assert name.isascii()
    assert len(name) <= 120
    assert not set(name) & set('/\\:*?"<>| \0')
    assert not name.startswith((".", "-"))
    assert name != Example(f"s3://b/{key}", etag + "0").name
    assert name != Example(f"s3://b/{key}0", etag).name


def test_only_known_labels_below_the_prefix() -> None:
    def review(key: str, decision: Decision, label: str | None) -> Review:
        return Review(f"s3://b/{key}", decision, label, "ann", "t", "e")

    reviews = [
        review("b/2", Decision.RIGHT, "hat"),
        review("b/1", Decision.CORRECTED, "dress"),
        review("b/3", Decision.WRONG, None),
        review("a/1", Decision.RIGHT, "hat"),
    ]
    assert [one.image_uri for one in decided(reviews, "s3://b/b/")] == ["s3://b/b/1", "s3://b/b/2"]
    assert len(decided(reviews)) == 3
