"""Gets a bundle from where it was published to this machine, verified."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from classifier.bundle import (
    GOLDEN_NAME,
    MANIFEST_NAME,
    MODEL_NAME,
    FileEntry,
    GoldenSet,
    Manifest,
    ModelUri,
    Pointer,
    verify,
)
from classifier.errors import ModelIntegrityError, ModelUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHECK_INTERVAL_SECONDS = 60.0
"""How often a running function asks whether the pointer has moved."""


@dataclass(frozen=True)
class Bundle:
    """A verified bundle: its manifest, the content of its ``model.tflite``, and its other files on demand."""

    manifest: Manifest
    model: bytes
    read: Callable[[str], bytes]

    def golden(self) -> GoldenSet:
        return GoldenSet.from_bytes(self.read(GOLDEN_NAME))


class BundleLoader:
    """Reads bundles below a model location."""

    def __init__(self, uri: ModelUri, s3: S3Client) -> None:
        self._uri = uri
        self._s3 = s3
        self._pointer_etag: str | None = None

    @property
    def pinned(self) -> bool:
        return self._uri.version is not None

    def load(self) -> Bundle:
        """Load the pinned version, or the one the pointer names.

        Raises:
            ModelUnavailable: S3 does not give it (none published, no permission, no answer).
            ModelIntegrityError: what S3 gives is not what was published.
            ModelIncompatibleError: the manifest is of an unknown schema version.
        """
        if self._uri.version is not None:
            return self._load_version(self._uri.version, None)
        data, etag = self._get(self._uri.pointer_key)
        pointer = Pointer.from_bytes(data)
        bundle = self._load_version(pointer.version, pointer.manifest_sha256)
        self._pointer_etag = etag
        return bundle

    def changed(self) -> bool:
        """Whether the pointer is another than the one last loaded: one conditional GET, 304 when it is not.

        Raises:
            ModelUnavailable: S3 does not answer.
        """
        if self.pinned or self._pointer_etag is None:
            return False
        try:
            self._s3.get_object(Bucket=self._uri.bucket, Key=self._uri.pointer_key, IfNoneMatch=self._pointer_etag)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 304:
                return False
            raise self._unavailable(self._uri.pointer_key, error) from error
        except BotoCoreError as error:
            raise self._unavailable(self._uri.pointer_key, error) from error
        return True

    def _load_version(self, version: str, manifest_sha256: str | None) -> Bundle:
        key = self._uri.key(version, MANIFEST_NAME)
        data, _ = self._get(key)
        if manifest_sha256 is not None and hashlib.sha256(data).hexdigest() != manifest_sha256:
            raise ModelIntegrityError(f"s3://{self._uri.bucket}/{key} is not the manifest that was published")
        manifest = Manifest.from_bytes(data)
        if manifest.version != version:
            raise ModelIntegrityError(f"s3://{self._uri.bucket}/{key} is the manifest of version {manifest.version}")
        # A pinned version has no pointer that vouches for its manifest, but its name vouches for its model.
        if not manifest.model.sha256.startswith(version.rpartition("-")[2]):
            raise ModelIntegrityError(
                f"s3://{self._uri.bucket}/{key} lists a model with sha256 {manifest.model.sha256[:12]}..., not the one"
                f" that was published as {version}. Publish the bundle again"
            )

        def read(name: str) -> bytes:
            return verify(name, self._get(self._uri.key(version, name))[0], _entry(manifest, name))

        return Bundle(manifest, read(MODEL_NAME), read)

    def _get(self, key: str) -> tuple[bytes, str]:
        try:
            response = self._s3.get_object(Bucket=self._uri.bucket, Key=key)
            return response["Body"].read(), response["ETag"]
        except (ClientError, BotoCoreError, OSError) as error:
            raise self._unavailable(key, error) from error

    def _unavailable(self, key: str, error: Exception) -> ModelUnavailable:
        hint = ""
        if isinstance(error, ClientError) and error.response["Error"]["Code"] in ("NoSuchKey", "NoSuchBucket"):
            hint = ". Publish a model: bucketlens model publish BUNDLE --to " + str(self._uri)
        return ModelUnavailable(f"cannot read s3://{self._uri.bucket}/{key}: {_reason(error)}{hint}")


def _entry(manifest: Manifest, name: str) -> FileEntry:
    try:
        return manifest.files[name]
    except KeyError:
        raise ModelIntegrityError(f"version {manifest.version} has no file {name}") from None


def _reason(error: Any) -> str:
    if isinstance(error, ClientError):
        return f"{error.response['Error']['Code']} {error.response['Error'].get('Message', '')}".strip(" .")
    return " ".join(str(error).split())
