"""Data sets in S3, over HTTP: fetched once, resumed, kept equal to what S3 has."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from classifier.errors import UserError
from model_build.data.remote import DataUri, Download, fetch, is_remote
from tests.conftest import BUCKET, Aws

URI = DataUri.parse(f"s3://{BUCKET}/data/photos")


@pytest.fixture
def stored(aws: Aws) -> Aws:
    for label in ("a", "b"):
        for index in range(3):
            aws.put(f"data/photos/train/{label}/{index} ü+.png", f"{label}{index}".encode())
    aws.put("data/photos-of-others/a/0.png", b"not below the prefix")
    return aws


def names(fetched: Download) -> dict[str, bytes]:
    files = (path for path in fetched.folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(fetched.folder).as_posix(): path.read_bytes() for path in files}


def counts(fetched: Download) -> tuple[int, int, int]:
    return fetched.downloaded, fetched.present, fetched.removed


def test_everything_below_the_prefix_arrives_once(stored: Aws, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    first = fetch(URI, stored.s3, tmp_path, lambda done, total: told.append((done, total)))
    assert counts(first) == (6, 0, 0)
    assert names(first) == {f"train/{label}/{n} ü+.png": f"{label}{n}".encode() for label in "ab" for n in range(3)}
    assert told == [(done, 6) for done in range(1, 7)]
    again = fetch(URI, stored.s3, tmp_path)
    assert counts(again) == (0, 6, 0)
    assert again.folder == first.folder


def test_what_changes_in_s3_changes_here(stored: Aws, tmp_path: Path) -> None:
    fetch(URI, stored.s3, tmp_path)
    stored.put("data/photos/train/a/0 ü+.png", b"A0")  # the same size
    stored.put("data/photos/test/c/new.png", b"new")
    stored.s3.delete_object(Bucket=BUCKET, Key="data/photos/train/b/2 ü+.png")
    fetched = fetch(URI, stored.s3, tmp_path)
    assert counts(fetched) == (2, 4, 1)
    found = names(fetched)
    assert (found["train/a/0 ü+.png"], found["test/c/new.png"]) == (b"A0", b"new")
    assert "train/b/2 ü+.png" not in found


def test_what_was_touched_here_is_fetched_again(stored: Aws, tmp_path: Path) -> None:
    folder = fetch(URI, stored.s3, tmp_path).folder
    (folder / "train/a/0 ü+.png").write_bytes(b"XX")
    (folder / "train/a/1 ü+.png").unlink()
    fetched = fetch(URI, stored.s3, tmp_path)
    assert counts(fetched) == (2, 4, 0)
    assert names(fetched)["train/a/0 ü+.png"] == b"a0"


class Interrupted:
    """An S3 client whose downloads stop after ``allowed``."""

    def __init__(self, s3: Any, allowed: int) -> None:
        self._s3, self.left = s3, allowed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def get_object(self, **request: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise ClientError({"Error": {"Code": "SlowDown", "Message": "later"}}, "GetObject")
        return self._s3.get_object(**request)


def test_an_interrupted_download_goes_on_where_it_stopped(stored: Aws, tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="SlowDown"):
        fetch(URI, Interrupted(stored.s3, 0), tmp_path)  # type: ignore[arg-type]
    folder = next(tmp_path.iterdir())
    assert [path.name for path in folder.rglob("*") if path.is_file()] == [".journal.jsonl"]
    fetch(URI, stored.s3, tmp_path)
    journal = folder / ".journal.jsonl"
    lines = journal.read_text(encoding="utf-8").splitlines(keepends=True)
    journal.write_text("".join(lines[:4]) + lines[4][:10], encoding="utf-8")  # killed while it wrote a line
    assert counts(fetch(URI, stored.s3, tmp_path)) == (2, 4, 0)
    assert counts(fetch(URI, stored.s3, tmp_path)) == (0, 6, 0)


def test_an_object_that_changes_meanwhile_is_not_mixed_in(stored: Aws, tmp_path: Path) -> None:
    class Changing(Interrupted):
        def get_object(self, **request: Any) -> Any:
            stored.put(request["Key"], b"changed after it was listed")
            return self._s3.get_object(**request)

    with pytest.raises(UserError, match="has changed while it was being downloaded"):
        fetch(URI, Changing(stored.s3, 0), tmp_path)  # type: ignore[arg-type]
    assert list(tmp_path.rglob("*.png")) == []


def test_hidden_keys_and_folder_markers_are_no_files(stored: Aws, tmp_path: Path) -> None:
    for key in ("train/", "train/a/.DS_Store", ".cache/x.png"):
        stored.put(f"data/photos/{key}", b"")
    assert counts(fetch(URI, stored.s3, tmp_path)) == (6, 0, 0)


@pytest.mark.parametrize("key", ["../outside.png", "a//b.png", "a/./b.png", "a\\b.png"])
def test_a_key_cannot_leave_the_folder(aws: Aws, tmp_path: Path, key: str) -> None:
    class Listing:
        """moto's server cleans such paths up before it stores them; S3 does not."""

        def get_paginator(self, _: str) -> Listing:
            return self

        def paginate(self, **_: str) -> list[dict[str, Any]]:
            return [{"Contents": [{"Key": f"data/photos/{key}", "ETag": '"x"', "Size": 1}]}]

    with pytest.raises(UserError, match="is not a valid file name here"):
        fetch(URI, Listing(), tmp_path)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_download_of_another_process_is_left_alone_and_an_abandoned_one_removed(stored: Aws, tmp_path: Path) -> None:
    folder = fetch(URI, stored.s3, tmp_path).folder
    (folder / ".partial-live").write_bytes(b"x")
    abandoned = folder / ".partial-old"
    abandoned.write_bytes(b"x")
    os.utime(abandoned, (0, 0))
    fetch(URI, stored.s3, tmp_path)
    assert sorted(path.name for path in folder.glob(".partial-*")) == [".partial-live"]


def test_locations_do_not_share_a_folder(stored: Aws, tmp_path: Path) -> None:
    inner = fetch(DataUri.parse(f"s3://{BUCKET}/data/photos/train"), stored.s3, tmp_path)
    outer = fetch(DataUri.parse(f"s3://{BUCKET}/data/"), stored.s3, tmp_path)
    assert counts(inner) == (6, 0, 0)
    assert counts(outer) == (7, 0, 0)
    assert counts(fetch(DataUri.parse(f"s3://{BUCKET}/data/photos/train/"), stored.s3, tmp_path)) == (0, 6, 0)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        (f"s3://{BUCKET}/nothing/", "contains no files"),
        ("s3://no-such-bucket/data/", "bucket no-such-bucket does not exist"),
    ],
)
def test_nothing_there_is_one_clear_line(aws: Aws, tmp_path: Path, uri: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fetch(DataUri.parse(uri), aws.s3, tmp_path)


def test_a_cache_that_cannot_be_written_is_one_clear_line(stored: Aws, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be stored in"):
        fetch(URI, stored.s3, tmp_path / "file")


def test_locations_are_parsed() -> None:
    assert is_remote("s3://bucket/x")
    assert not is_remote("photos")
    assert (DataUri.parse("s3://b").prefix, DataUri.parse("s3://b/").prefix) == ("", "")
    assert str(DataUri.parse("s3://b/x/y")) == "s3://b/x/y/"
    for wrong in ("s3://", "s3:///x", "http://b/x", "b/x"):
        with pytest.raises(UserError, match="not a data location"):
            DataUri.parse(wrong)
