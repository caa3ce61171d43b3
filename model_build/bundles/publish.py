"""``bucketlens model publish``: a proven bundle becomes an immutable version in S3, then the live one.

Before that it must pass the gate (:mod:`model_build.quality.gate`). ``force`` publishes it all the same, with a reason
that is kept at ``forced/<time>-<version>.json`` beside the versions: ``{"version", "reason", "failed", "forced_at"}``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from classifier.bundle import MANIFEST_NAME, Manifest, ModelUri
from classifier.errors import UserError
from model_build.bundles.bundling import prove, tensor_digests
from model_build.bundles.releases import live, parse_prefix, set_live
from model_build.bundles.s3_objects import is_refused, read_object
from model_build.data.tensors import Progress
from model_build.files import json_bytes
from model_build.quality.comparison import compare_with_live
from model_build.quality.gate import Check, Limits, Verdict, accuracy_check, recall_check, refusal, tensors_check

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CONTENT_TYPES = {".json": "application/json", ".html": "text/html; charset=utf-8"}
_ATTEMPTS = 3
FORCED = "forced/"


@dataclass(frozen=True)
class Publication:
    """What :func:`publish_bundle` did, or would do.

    Attributes:
        uploaded, present: the version's object keys that were written, and those that were there with that content.
        promoted: whether the pointer now names this version.
        verdict: of the gate.
    """

    version: str
    uploaded: tuple[str, ...]
    present: tuple[str, ...]
    promoted: bool
    verdict: Verdict


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
    limits: Limits = Limits(),  # noqa: B008
    data: Path | None = None,
    force: str | None = None,
    progress: Progress = lambda *_: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Publication:
    """Prove ``bundle``, hold it against the gate, upload its files below ``uri``, the manifest last, and make it live.

    Every file is written on the condition that nothing is there (``If-None-Match: *``), so that a version never
    changes; identical content that is there already counts as written, so that an interrupted publication can be
    repeated. Readers see the version only when the pointer moves, at the very end.

    Args:
        uri: ``s3://bucket/models/``.
        promote: False leaves the pointer alone.
        dry_run: check everything, write nothing.
        limits: of the gate.
        data: where the bundle's test photos are now, if they have been moved.
        force: why it is published although the gate refuses it.

    Raises:
        UserError: no bundle, the gate refuses it, the version exists with other content, or somebody else moved the
            pointer meanwhile.
        ModelIntegrityError, ModelIncompatibleError: the bundle does not prove itself.
        ClientError, BotoCoreError: what S3 refuses otherwise.
    """
    where = parse_prefix(uri)
    manifest = prove(bundle)
    # Read before the upload: whoever publishes in the meantime has the newer say, and this publication must ask again.
    before = live(client, where)
    verdict = Verdict(
        (
            *own_checks(bundle, manifest, limits),
            compare_with_live(bundle, before, where, client, data=data, limits=limits, progress=progress),
        )
    )
    if not verdict.passed and force is None:
        raise UserError(refusal(f"{manifest.name} {manifest.version}", verdict))
    names = [*sorted(manifest.files), MANIFEST_NAME]
    uploaded: list[str] = []
    present: list[str] = []
    for name in names:
        key = where.key(manifest.version, name)
        written = _put_once(client, where.bucket, key, (bundle / name).read_bytes(), dry_run)
        (uploaded if written else present).append(key)
    if force is not None and not verdict.passed and not dry_run:
        _record_force(client, where, manifest.version, force, verdict, now())
    if promote:
        digest = hashlib.sha256((bundle / MANIFEST_NAME).read_bytes()).hexdigest()
        set_live(client, where, manifest.version, digest, before, dry_run=dry_run, now=now)
    return Publication(manifest.version, tuple(uploaded), tuple(present), promote, verdict)


def own_checks(bundle: Path, manifest: Manifest, limits: Limits) -> tuple[Check, ...]:
    """The gate's checks that need nothing but the bundle, which has proven itself."""
    golden = {name: (bundle / name).read_bytes() for name in manifest.files if name.startswith("golden/")}
    proven = f"{len(golden) - 1} photos give the probabilities they gave when packaged" if golden else "has no photos"
    test = manifest.metrics.get("test")
    return (
        Check("golden", True if golden else None, proven),
        tensors_check(manifest.metrics.get("golden_tensors"), tensor_digests(manifest, golden)),
        accuracy_check(test, limits),
        recall_check(test, limits),
    )


def _record_force(
    client: S3Client, where: ModelUri, version: str, reason: str, verdict: Verdict, time: datetime
) -> None:
    moment = time.astimezone(UTC)
    entry = {
        "version": version,
        "reason": reason,
        "failed": [asdict(check) for check in verdict.failed],
        "forced_at": moment.isoformat(),
    }
    client.put_object(
        Bucket=where.bucket,
        Key=f"{where.prefix}{FORCED}{moment:%Y%m%dT%H%M%S.%fZ}-{version}.json",
        Body=json_bytes(entry),
        ContentType="application/json",
    )


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
