"""``bucketlens model publish``: a proven bundle becomes an immutable version in S3, then the live one.

Before that it must pass the gate (:mod:`model_build.evaluation.gate`). ``force`` publishes it all the same, with a
reason that is kept at ``forced/<time>-<version>.json`` beside the versions: ``{"version", "reason", "failed",
"forced_at"}``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from classifier.bundle import MANIFEST_NAME, MULTI_LABEL, ModelUri
from classifier.errors import BucketlensError, UserError
from model_build.bundles.bundling import PhotosMissing, find_test_photos, tensor_digests
from model_build.bundles.releases import (
    Live,
    is_refused,
    live,
    parse_prefix,
    read_object,
    refuse_input_prefix,
    set_live,
)
from model_build.data.dataset import duplicate_label
from model_build.data.tensors import Progress
from model_build.evaluation.comparison import answers_of
from model_build.evaluation.gate import (
    Check,
    GateLimits,
    Verdict,
    classes_check,
    live_check,
    own_checks,
    refusal,
)
from model_build.evaluation.opening import OpenBundle, open_bundle, open_published
from model_build.files import json_bytes

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


def publish_bundle(
    bundle: Path,
    uri: str,
    client: S3Client,
    *,
    promote: bool = True,
    dry_run: bool = False,
    limits: GateLimits = GateLimits(),  # noqa: B008
    data: Path | None = None,
    force: str | None = None,
    progress: Progress = lambda *_: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Publication:
    """Prove ``bundle``, put it through the gate, upload its files below ``uri``, the manifest last, and make it live.

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
    opened = open_bundle(bundle).prove()
    refuse_input_prefix(client, where)
    twice = duplicate_label(opened.manifest.labels)
    if twice is not None:
        raise UserError(
            f"{opened.name} has the label {twice!r} twice: results could not be told apart; import the model again with"
            " a name of its own for each label"
        )
    version = opened.manifest.version
    # Read before the upload: a version that somebody else promotes in the meantime must not be replaced unseen.
    before = live(client, where)
    verdict = Verdict(
        (
            *own_checks(
                opened.evidence.test,
                opened.evidence.golden_tensors,
                tensor_digests(opened.manifest, opened.files),
                limits,
            ),
            *compare_with_live(
                opened, before, where, client, promote=promote, data=data, limits=limits, progress=progress
            ),
        )
    )
    if not verdict.passed and force is None:
        raise UserError(refusal(opened.name, verdict))
    uploaded: list[str] = []
    present: list[str] = []
    for name in (*sorted(opened.manifest.files), MANIFEST_NAME):
        key = where.key(version, name)
        written = _put_once(client, where.bucket, key, opened.files[name], dry_run)
        (uploaded if written else present).append(key)
    if force is not None and not verdict.passed and not dry_run:
        _record_force(client, where, version, force, verdict, now())
    if promote:
        digest = hashlib.sha256(opened.files[MANIFEST_NAME]).hexdigest()
        set_live(client, where, version, digest, before, dry_run=dry_run, now=now)
    return Publication(version, tuple(uploaded), tuple(present), promote, verdict)


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
    raise UserError(f"s3://{bucket}/{key} is being written by another process; try again")


def compare_with_live(
    bundle: OpenBundle,
    live: Live,
    where: ModelUri,
    client: S3Client,
    *,
    promote: bool = True,
    data: Path | None = None,
    limits: GateLimits = GateLimits(),  # noqa: B008
    progress: Progress = lambda *_: None,
) -> tuple[Check, ...]:
    """The gate's checks against the live version: its classes, and how both do on the bundle's test photos.

    What stands in the way of a comparison (no live version, no photos, other classes, a live version that cannot be
    loaded) leaves a check not judged, and its detail says so: a broken live version must not block its own repair.
    Other classes fail the check only where the bundle takes the live version's place (``promote``).

    Raises:
        UserError: ``data`` is given and is no folder of photos.
    """
    if live.version is None:
        return (Check("live", None, "nothing is live yet"),)
    if live.version == bundle.manifest.version:
        return (Check("live", None, "this is the live version"),)
    try:
        theirs = open_published(ModelUri(where.bucket, where.prefix, live.version), client)
    except BucketlensError as error:
        return (_not_compared(live.version, f"it cannot be loaded: {error}"),)
    classes = classes_check(live.version, bundle.manifest.labels, theirs.manifest.labels)
    if not (classes.passed or promote):
        classes = replace(classes, passed=None)
    return classes, _compare_answers(bundle, theirs, live.version, data=data, limits=limits, progress=progress)


def _compare_answers(
    bundle: OpenBundle,
    theirs: OpenBundle,
    version: str,
    *,
    data: Path | None,
    limits: GateLimits,
    progress: Progress,
) -> Check:
    if MULTI_LABEL in (bundle.manifest.output.kind, theirs.manifest.output.kind):
        return _not_compared(version, "a multi-label model gives a photo any number of labels")
    try:
        test = find_test_photos(bundle, data)
    except PhotosMissing as reason:
        return _not_compared(version, reason)
    if set(theirs.manifest.labels) != set(bundle.manifest.labels):
        return _not_compared(version, "it has different classes")
    try:
        on_live = answers_of(theirs.model, test.photos, progress)
    except BucketlensError as error:
        return _not_compared(version, f"it cannot be run: {error}")
    on_new = answers_of(bundle.model, test.photos, progress)
    if test.digests is not None and on_new.sha256 != tuple(test.digests):
        return _not_compared(version, "the test photos have changed")
    if not on_new.photos:
        return _not_compared(version, "none of the test photos can be read")
    other_data = bundle.manifest.dataset.get("fingerprint") != theirs.manifest.dataset.get("fingerprint")
    note = "; the live version was trained on other photos, which may include some of these" if other_data else ""
    return live_check(version, on_new.right, on_live.right, limits, note)


def _not_compared(version: str, reason: object) -> Check:
    return Check("live", None, f"not compared with the live {version}: {reason}")
