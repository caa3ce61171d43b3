"""Which published version is live: the pointer ``current.json``, its history, and moving it.

The pointer holds the version and its manifest's sha256, nothing else (the function reads it). What was live before is
written to ``history/<time>-<version>.json`` beside it, ``{"version", "previous", "promoted_at"}``, *before* the pointer
moves: a record of a move that then fails is never looked up, a move without a record would lose the way back.

Rolling back follows the newest record of the live version to its ``previous`` and writes no record, so that rolling
back twice goes two versions back instead of returning to the one just left.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from classifier.bundle import MANIFEST_NAME, VERSION_PATTERN, Manifest, ModelUri, Pointer
from classifier.errors import BucketlensError, UserError
from model_build.data.boto_s3 import error_code
from model_build.evaluation.gate import Evidence
from model_build.files import json_bytes

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html: 412 when the condition does not hold,
# 409 when another write to the key ended first.
_REFUSALS = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
_ABSENT = ("NoSuchKey", "404", "NotFound")
HISTORY = "history/"


@dataclass(frozen=True)
class StoredObject:
    """An object's content and its entity tag, quotes and all."""

    data: bytes
    etag: str


def read_object(client: S3Client, bucket: str, key: str) -> StoredObject | None:
    """The object, or None where there is none.

    Raises:
        UserError: there is no such bucket.
        ClientError, BotoCoreError: anything else S3 refuses.
    """
    try:
        response = client.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        code = error_code(error)
        if code in _ABSENT:
            return None
        if code == "NoSuchBucket":
            raise UserError(f"the bucket {bucket} does not exist") from None
        raise
    return StoredObject(response["Body"].read(), response["ETag"])


def is_refused(error: ClientError) -> bool:
    """Whether a conditional write was refused for its condition."""
    return error_code(error) in _REFUSALS


@dataclass(frozen=True)
class Live:
    """The pointer as read, with the entity tag that a write must match; no pointer: nothing is live yet."""

    pointer: Pointer | None
    etag: str | None

    @property
    def version(self) -> str | None:
        return self.pointer.version if self.pointer else None


@dataclass(frozen=True)
class PublishedVersion:
    """A version below a model location. What only its manifest tells is None where that is missing or unreadable."""

    version: str
    live: bool
    name: str | None
    created_at: str | None
    accuracy: float | None
    size_bytes: int | None


def parse_prefix(uri: str) -> ModelUri:
    """Raises UserError unless ``uri`` is a model location without a version."""
    try:
        where = ModelUri.parse(uri)
    except BucketlensError as error:
        raise UserError(str(error)) from None
    if where.version is not None:
        raise UserError(f"{uri} names a version; give the location above it, {ModelUri(where.bucket, where.prefix)}")
    return where


def refuse_input_prefix(client: S3Client, where: ModelUri) -> None:
    """Raises UserError where objects below ``where`` are announced as images: a bundle there would be classified."""
    try:
        announced = client.get_bucket_notification_configuration(Bucket=where.bucket)
    except ClientError as error:
        # A person who may publish need not be allowed to read the bucket's configuration.
        if error_code(error) in ("AccessDenied", "NoSuchBucket"):
            return
        raise
    for target in announced.get("QueueConfigurations", []) + announced.get("LambdaFunctionConfigurations", []):
        rules = target.get("Filter", {}).get("Key", {}).get("FilterRules", [])
        prefixes = [rule["Value"] for rule in rules if rule["Name"].lower() == "prefix"]
        if all(where.prefix.startswith(prefix) for prefix in prefixes):
            raise UserError(
                f"{where} is an input location: objects below s3://{where.bucket}/{''.join(prefixes)} are classified "
                "as images. Publish to the stack's model location (its output ModelUri)"
            )


def live(client: S3Client, where: ModelUri) -> Live:
    """Read the pointer. Raises UserError (no bucket), ModelIntegrityError (damaged pointer), ClientError."""
    stored = read_object(client, where.bucket, where.pointer_key)
    return Live(None, None) if stored is None else Live(Pointer.from_bytes(stored.data), stored.etag)


def set_live(
    client: S3Client,
    where: ModelUri,
    version: str,
    manifest_sha256: str,
    before: Live,
    *,
    dry_run: bool = False,
    record: bool = True,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Move the pointer from ``before`` to ``version``, only if it is still what ``before`` says.

    Raises:
        UserError: somebody else moved it meanwhile.
    """
    pointer = Pointer(version, manifest_sha256)
    if dry_run or pointer == before.pointer:
        return
    time = now().astimezone(UTC)
    history_key = f"{where.prefix}{HISTORY}{time:%Y%m%dT%H%M%S.%fZ}-{version}.json"
    if record:
        entry = {"version": version, "previous": before.version, "promoted_at": time.isoformat()}
        client.put_object(Bucket=where.bucket, Key=history_key, Body=json_bytes(entry), ContentType="application/json")
    condition: dict[str, Any] = {"IfMatch": before.etag} if before.etag else {"IfNoneMatch": "*"}
    try:
        client.put_object(
            Bucket=where.bucket,
            Key=where.pointer_key,
            Body=pointer.to_bytes(),
            ContentType="application/json",
            **condition,
        )
    except (ClientError, BotoCoreError) as error:
        # The SDK repeats a request whose answer was lost, and the repetition is then refused by what the first has
        # written: only the pointer itself tells whether it moved.
        now_live = live(client, where)
        if now_live.pointer == pointer:
            return
        # With If-Match on a pointer that was deleted meanwhile, S3 answers 404 instead of 412.
        if isinstance(error, BotoCoreError) or not (is_refused(error) or error_code(error) == "NoSuchKey"):
            raise
        # The record stays if the present version was promoted over ours since: rolling back from it comes through here.
        newest = _newest_record(client, where, now_live.version) if record and now_live.version else None
        if record and not (newest and newest > history_key and _read_previous(client, where, newest) == version):
            client.delete_object(Bucket=where.bucket, Key=history_key)
        raise UserError(
            f"another process changed s3://{where.bucket}/{where.pointer_key} meanwhile, to {now_live.version};"
            f" look at 'bucketlens model versions --at {where}' and try again"
        ) from None


def promote(
    version: str,
    uri: str,
    client: S3Client,
    *,
    dry_run: bool = False,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Live:
    """Make a published version the live one; returns what was live before.

    Raises:
        UserError: no such version, an incomplete one, or a lost race.
        ModelIntegrityError, ModelIncompatibleError: its manifest is damaged or of another schema.
    """
    where = parse_prefix(uri)
    before = live(client, where)
    digest = _checked_manifest(client, where, version)
    set_live(client, where, version, digest, before, dry_run=dry_run, now=now)
    return before


def rollback(uri: str, client: S3Client, *, dry_run: bool = False) -> tuple[str, str]:
    """Make the version live that was live before the present one; returns (the one left, the one now live).

    Raises:
        UserError: nothing is live, nothing was before, or a lost race.
    """
    where = parse_prefix(uri)
    before = live(client, where)
    if before.version is None:
        raise UserError(f"nothing is live at {where}; publish a model first")
    previous = _previous(client, where, before.version)
    if previous is None:
        raise UserError(
            f"{before.version} is the first version that was live at {where}: no earlier version to roll back to;"
            " choose one with 'bucketlens model promote VERSION'"
        )
    digest = _checked_manifest(client, where, previous)
    set_live(client, where, previous, digest, before, dry_run=dry_run, record=False)
    return before.version, previous


def versions(uri: str, client: S3Client) -> list[PublishedVersion]:
    """The versions below ``uri``, newest first."""
    where = parse_prefix(uri)
    current = live(client, where).version
    found = []
    for page in client.get_paginator("list_objects_v2").paginate(
        Bucket=where.bucket, Prefix=where.prefix, Delimiter="/"
    ):
        for folder in page.get("CommonPrefixes", []):
            version = folder["Prefix"].removeprefix(where.prefix).rstrip("/")
            if VERSION_PATTERN.fullmatch(version):
                found.append(_published(client, where, version, version == current))
    return sorted(found, key=lambda one: one.version, reverse=True)


def _published(client: S3Client, where: ModelUri, version: str, is_live: bool) -> PublishedVersion:
    stored = read_object(client, where.bucket, where.key(version, MANIFEST_NAME))
    try:
        manifest = Manifest.from_bytes(stored.data) if stored else None
    except BucketlensError:  # listed all the same: one damaged version must not hide the others
        manifest = None
    if manifest is None:
        return PublishedVersion(version, is_live, None, None, None, None)
    test = Evidence.of(manifest).test
    accuracy = test.accuracy if test else None
    return PublishedVersion(version, is_live, manifest.name, manifest.created_at, accuracy, manifest.model.size_bytes)


def _checked_manifest(client: S3Client, where: ModelUri, version: str) -> str:
    """sha256 of the manifest of a version all of whose files are there with their sizes."""
    if not VERSION_PATTERN.fullmatch(version):
        raise UserError(f"{version!r} is not a version; 'bucketlens model versions --at {where}' lists them")
    stored = read_object(client, where.bucket, where.key(version, MANIFEST_NAME))
    if stored is None:
        raise UserError(
            f"there is no version {version} at {where}; 'bucketlens model versions --at {where}' lists them"
        )
    manifest = Manifest.from_bytes(stored.data)
    sizes: dict[str, int] = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=where.bucket, Prefix=where.key(version, "")):
        sizes |= {item["Key"]: item["Size"] for item in page.get("Contents", [])}
    for name, entry in manifest.files.items():
        if sizes.get(where.key(version, name)) != entry.size_bytes:
            raise UserError(f"version {version} at {where} is incomplete: {name} is missing or of another size")
    return hashlib.sha256(stored.data).hexdigest()


def _previous(client: S3Client, where: ModelUri, version: str) -> str | None:
    """What was live before the last promotion of ``version``; None if nothing was.

    Raises:
        UserError: no record of it is there.
    """
    newest = _newest_record(client, where, version)
    try:
        return _read_previous(client, where, newest or "")
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"there is no record of what was live at {where} before {version};"
            " choose a version with 'bucketlens model promote VERSION'"
        ) from None


def _newest_record(client: S3Client, where: ModelUri, version: str) -> str | None:
    """The key of the history record of the last promotion of ``version``."""
    keys: list[str] = []
    for page in client.get_paginator("list_objects_v2").paginate(
        Bucket=where.bucket, Prefix=f"{where.prefix}{HISTORY}"
    ):
        keys += [item["Key"] for item in page.get("Contents", []) if item["Key"].endswith(f"-{version}.json")]
    return max(keys, default=None)


def _read_previous(client: S3Client, where: ModelUri, key: str) -> str | None:
    """Raises ValueError, KeyError or TypeError where there is no such record, or it is damaged."""
    stored = read_object(client, where.bucket, key) if key else None
    previous = json.loads(stored.data if stored else b"{}")["previous"]
    return None if previous is None else str(previous)
