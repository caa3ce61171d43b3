"""A data set in S3 -> the same files in a local folder, fetched in parallel, once.

What is there with the size and entity tag that S3 lists stays; what has changed is fetched again; what S3 no longer
has is removed. A killed download resumes where it stopped: every file gets its name only when it is complete, and a
journal beside the files says which version each one is.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from botocore.exceptions import ClientError

from classifier.errors import UserError
from model_build.files import write_atomic

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_SCHEME = "s3://"
_JOURNAL = ".journal.jsonl"  # hidden files are no photos
_PARTIAL = ".partial-"
_ABANDONED_SECONDS = 3600
_THREADS = 10  # botocore's default connection pool
_BLOCK = 1 << 20


@dataclass(frozen=True)
class DataUri:
    """``s3://bucket/prefix/``: every object below it. ``prefix`` ends with a slash unless it is empty."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises UserError for anything else."""
        bucket, _, prefix = text.removeprefix(_SCHEME).partition("/")
        if not text.startswith(_SCHEME) or not bucket:
            raise UserError(f"{text!r} is not a data location; it looks like s3://bucket/prefix/")
        return cls(bucket, f"{prefix.rstrip('/')}/" if prefix.strip("/") else "")

    def __str__(self) -> str:
        return f"{_SCHEME}{self.bucket}/{self.prefix}"


@dataclass(frozen=True)
class Download:
    """Attributes:
    folder: holds the files by their keys relative to the prefix.
    downloaded, present, removed: how many files.
    """

    folder: Path
    downloaded: int
    present: int
    removed: int


@dataclass(frozen=True, slots=True)
class _Version:
    """An object as S3 lists it."""

    etag: str
    size: int


def is_remote(data: str) -> bool:
    """Whether ``data`` names a place in S3 rather than a folder."""
    return data.startswith(_SCHEME)


def s3_client() -> S3Client:
    """An S3 client for this environment; botocore reads AWS_ENDPOINT_URL itself."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3", config=Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "max_attempts": 4})
    )


def fetch(uri: DataUri, s3: S3Client, cache: Path, progress: Callable[[int, int], None] = lambda *_: None) -> Download:
    """Make a folder of its own in ``cache`` hold the objects below ``uri``, but for those with a hidden name.

    Each object is asked for by the entity tag that was listed, so that what arrives is what was listed, and must have
    its size; the SDK verifies the checksums that S3 stores with objects.

    Raises:
        UserError: no such bucket, nothing below the prefix, a key that cannot be a file name, an object that changes
            meanwhile, or no room on the disk.
        ClientError, BotoCoreError: anything else S3 refuses.
    """
    listed = dict(_list(uri, s3))
    if not listed:
        raise UserError(f"{uri} contains no files")
    folder = cache / _folder_name(uri)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        known = {name: one for name, one in _read_journal(folder / _JOURNAL).items() if name in listed}
        write_atomic(folder / _JOURNAL, "".join(_line(name, *one) for name, one in known.items()).encode())
        removed = _remove_others(folder, listed.keys())
        wanted = {name: one for name, one in listed.items() if not _is_there(folder / name, known.get(name), one)}
        _require_room(folder, sum(one.size for one in wanted.values()))
        with (folder / _JOURNAL).open("a", encoding="utf-8") as journal, ThreadPoolExecutor(_THREADS) as pool:
            jobs = {pool.submit(_download, s3, uri, name, one, folder): name for name, one in wanted.items()}
            try:
                for done, job in enumerate(as_completed(jobs), 1):
                    name = jobs[job]
                    journal.write(_line(name, wanted[name], job.result()))
                    journal.flush()
                    progress(done, len(wanted))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    except OSError as error:
        raise UserError(f"{uri} cannot be stored in {folder}: {error.strerror or error}") from None
    return Download(folder, len(wanted), len(listed) - len(wanted), removed)


def _folder_name(uri: DataUri) -> str:
    """A name for a person, and a digest that makes it one of a kind."""
    readable = quote(f"{uri.bucket}/{uri.prefix}".strip("/").replace("/", "-"), safe="")[:80]
    return f"{readable}-{hashlib.sha256(str(uri).encode()).hexdigest()[:12]}"


def _list(uri: DataUri, s3: S3Client) -> Iterator[tuple[str, _Version]]:
    """Names relative to the prefix, with what is listed of them."""
    try:
        for listed in s3.get_paginator("list_objects_v2").paginate(Bucket=uri.bucket, Prefix=uri.prefix):
            for entry in listed.get("Contents", []):
                name = entry["Key"].removeprefix(uri.prefix)
                parts = name.split("/")
                if not name or name.endswith("/") or any(part.startswith(".") and part.strip(".") for part in parts):
                    continue  # a folder marker, or hidden
                # What would leave the folder, or meet another file there.
                if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
                    raise UserError(
                        f"the key {entry['Key']!r} in {uri.bucket} is not a valid file name here; rename it"
                    )
                yield name, _Version(entry["ETag"], entry["Size"])
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchBucket":
            raise UserError(f"the bucket {uri.bucket} does not exist") from None
        raise


def _download(s3: S3Client, uri: DataUri, name: str, version: _Version, folder: Path) -> int:
    """Fetch one object; the time of the file in nanoseconds."""
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        response = s3.get_object(Bucket=uri.bucket, Key=uri.prefix + name, IfMatch=version.etag)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("PreconditionFailed", "412", "NoSuchKey", "404"):
            raise UserError(f"{uri}{name} has changed while it was being downloaded; run the command again") from None
        raise
    handle, partial = tempfile.mkstemp(dir=folder, prefix=_PARTIAL)
    try:
        with os.fdopen(handle, "wb") as file:
            for block in response["Body"].iter_chunks(_BLOCK):
                file.write(block)
            size = file.tell()
        if size != version.size:
            raise UserError(f"{uri}{name} is incomplete: {size} of {version.size} bytes; run the command again")
        Path(partial).replace(target)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    return target.stat().st_mtime_ns


def _is_there(path: Path, known: tuple[_Version, int] | None, listed: _Version) -> bool:
    """Whether the file is the listed version, and has not been touched since it was fetched."""
    if known is None or known[0] != listed:
        return False
    try:
        status = path.stat()
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (listed.size, known[1])


def _remove_others(folder: Path, names: Iterable[str]) -> int:
    """Remove files that S3 does not have, and what a killed download left; how many of the former."""
    wanted = set(names)
    removed = 0
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder comes before the folder
        name = path.relative_to(folder).as_posix()
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.name.startswith(_PARTIAL):
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:  # else another download is at work
                path.unlink()
        elif name != _JOURNAL and name not in wanted:
            path.unlink()
            removed += 1
    return removed


def _require_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder} has {free / 1e6:,.0f} MB free and {needed / 1e6:,.0f} MB are to be downloaded;"
            " free some space, or set BUCKETLENS_CACHE to a folder on another disk"
        )


def _line(name: str, version: _Version, mtime_ns: int) -> str:
    return json.dumps([name, version.etag, version.size, mtime_ns], ensure_ascii=False) + "\n"


def _read_journal(path: Path) -> dict[str, tuple[_Version, int]]:
    """What is known of each file, its last line counting; the last line of a killed download may be half a one."""
    known: dict[str, tuple[_Version, int]] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                name, etag, size, mtime_ns = json.loads(line)
            except ValueError:
                continue
            known[name] = _Version(etag, size), mtime_ns
    return known
