"""``bucketlens model publish``: a proven bundle becomes an immutable version in S3, then the live one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from classifier.bundle import MANIFEST_NAME
from classifier.errors import UserError
from model_build.bundling import prove
from model_build.releases import live, parse_prefix, set_live
from model_build.s3_objects import is_refused, read_object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CONTENT_TYPES = {".json": "application/json", ".html": "text/html; charset=utf-8"}
_ATTEMPTS = 3


@dataclass(frozen=True)
class Publication:
    """What :func:`publish_bundle` did, or would do.

    Attributes:
        uploaded, present: the version's object keys that were written, and those that were there with that content.
        promoted: whether the pointer now names this version.
    """

    version: str
    uploaded: tuple[str, ...]
    present: tuple[str, ...]
    promoted: bool


def publish(bundle: Path, uri: str, client: S3Client, *, promote: bool = True) -> str:
    """:func:`publish_bundle`, for callers that want the version alone."""
    return publish_bundle(bundle, uri, client, promote=promote).version


def publish_bundle(
    bundle: Path,
    uri: str,
    client: S3Client,
    *,
    promote: bool = True,
    dry_run: bool = False,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Publication:
    """Prove ``bundle``, upload its files below ``uri``, the manifest last, and make it the live version.

    Every file is written on the condition that nothing is there (``If-None-Match: *``), so that a version never
    changes; identical content that is there already counts as written, so that an interrupted publication can be
    repeated. Readers see the version only when the pointer moves, at the very end.

    Args:
        uri: ``s3://bucket/models/``.
        promote: False leaves the pointer alone.
        dry_run: check everything, write nothing.

    Raises:
        UserError: no bundle, the version exists with other content, or somebody else moved the pointer meanwhile.
        ModelIntegrityError, ModelIncompatibleError: the bundle does not prove itself.
        ClientError, BotoCoreError: what S3 refuses otherwise.
    """
    where = parse_prefix(uri)
    manifest = prove(bundle)
    # Read before the upload: whoever publishes in the meantime has the newer say, and this publication must ask again.
    before = live(client, where)
    names = [*sorted(manifest.files), MANIFEST_NAME]
    uploaded: list[str] = []
    present: list[str] = []
    for name in names:
        key = where.key(manifest.version, name)
        written = _put_once(client, where.bucket, key, (bundle / name).read_bytes(), dry_run)
        (uploaded if written else present).append(key)
    if promote:
        digest = hashlib.sha256((bundle / MANIFEST_NAME).read_bytes()).hexdigest()
        set_live(client, where, manifest.version, digest, before, dry_run=dry_run, now=now)
    return Publication(manifest.version, tuple(uploaded), tuple(present), promote)


def _put_once(client: S3Client, bucket: str, key: str, data: bytes, dry_run: bool) -> bool:
    """Write an object that must not exist with other content; returns False if it exists with this one."""
    for _ in range(_ATTEMPTS):
        if dry_run:
            existing = read_object(client, bucket, key)
            if existing is None:
                return True
        else:
            try:
                client.put_object(
                    Bucket=bucket,
                    Key=key,
                    Body=data,
                    IfNoneMatch="*",
                    ContentType=_CONTENT_TYPES.get(Path(key).suffix, "application/octet-stream"),
                )
                return True
            except ClientError as error:
                if not is_refused(error):
                    raise
            existing = read_object(client, bucket, key)
        if existing is not None:
            if existing.data == data:
                return False
            raise UserError(
                f"s3://{bucket}/{key} exists with other content; a published version never changes. Package the model"
                " again, which gives it a version of its own"
            )
        # Refused, and yet not there: another writer's upload was under way (409) and failed. Once more.
    raise UserError(f"s3://{bucket}/{key} is being written by somebody else; try again")
