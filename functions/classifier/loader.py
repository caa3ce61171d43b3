"""Gets a bundle from where it was published to this machine, verified."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from classifier.aws_calls import AwsError
from classifier.bundle import (
    MANIFEST_NAME,
    MODEL_NAME,
    NOVELTY_NAME,
    POINTER_NAME,
    FileEntry,
    Manifest,
    ModelUri,
    Pointer,
    verify,
)
from classifier.errors import ModelIntegrityError, ModelUnavailable
from classifier.golden import GOLDEN_NAME, GoldenSet
from classifier.s3 import GetObject, ReadableS3

CHECK_INTERVAL_SECONDS = 60.0
"""How often a running function asks whether the pointer has moved."""


@dataclass(frozen=True)
class Bundle:
    """A verified bundle: its manifest, the content of its ``model.tflite``, and its other files on demand.

    Attributes:
        novelty: the content of ``novelty.npy``; nothing for a bundle without.
    """

    manifest: Manifest
    model: bytes
    novelty: bytes
    read: Callable[[str], bytes]

    def golden(self) -> GoldenSet:
        return GoldenSet.from_bytes(self.read(GOLDEN_NAME))


Read = Callable[[str, str | None], tuple[bytes, str] | None]
"""Content and ETag of a key; None if the ETag is still the one that is given."""


class BundleLoader:
    """Reads bundles below a model location.

    Args:
        s3: not used for a folder of this machine.
    """

    def __init__(self, uri: ModelUri, s3: ReadableS3) -> None:
        self._uri = uri
        self._read = _from_bucket(s3, uri.bucket) if uri.bucket else _from_folder
        self._pointer_etag: str | None = None

    @property
    def pinned(self) -> bool:
        return self._uri.version is not None

    def load(self) -> Bundle:
        """Load the pinned version, or the one the pointer names.

        Raises:
            ModelUnavailable: S3 or the folder does not give it (none published, no permission, no answer).
            ModelIntegrityError: what it gives is not what was published.
            ModelIncompatibleError: the manifest is of an unknown schema version.
        """
        if self._uri.version is not None:
            return self._load_version(self._uri.version, None)
        if not self._uri.bucket and Path("/", self._uri.prefix, MANIFEST_NAME).exists():
            return self._load_from(self._uri.prefix, None, None)
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
        return self._got(self._uri.pointer_key, self._pointer_etag) is not None

    def _load_version(self, version: str, manifest_sha256: str | None) -> Bundle:
        return self._load_from(f"{self._uri.prefix}{version}/", version, manifest_sha256)

    def _load_from(self, folder: str, version: str | None, manifest_sha256: str | None) -> Bundle:
        where = self._uri.of(folder + MANIFEST_NAME)
        mend = "Publish the bundle again" if self._uri.bucket else "Copy the bundle again"
        data, _ = self._get(folder + MANIFEST_NAME)
        if manifest_sha256 is not None and hashlib.sha256(data).hexdigest() != manifest_sha256:
            raise ModelIntegrityError(f"{where} is not the manifest that was published")
        manifest = Manifest.from_bytes(data)
        if version not in (None, manifest.version):
            raise ModelIntegrityError(f"{where} is the manifest of version {manifest.version}")
        # Without a pointer that vouches for the manifest, the version's name vouches for its model.
        if not manifest.model.sha256.startswith(manifest.version.rpartition("-")[2]):
            raise ModelIntegrityError(
                f"{where} lists a model with sha256 {manifest.model.sha256[:12]}..., not the one"
                f" that was published as {manifest.version}. {mend}"
            )

        def read(name: str) -> bytes:
            return verify(name, self._get(folder + name)[0], _entry(manifest, name), mend)

        novelty = b"" if manifest.novelty is None else read(NOVELTY_NAME)
        return Bundle(manifest, read(MODEL_NAME), novelty, read)

    def _get(self, key: str) -> tuple[bytes, str]:
        found = self._got(key, None)
        assert found is not None  # noqa: S101 - an ETag is what it takes to get nothing
        return found

    def _got(self, key: str, etag: str | None) -> tuple[bytes, str] | None:
        try:
            return self._read(key, etag)
        except (AwsError, OSError) as error:
            hint = ""
            if isinstance(error, AwsError) and error.code in ("NoSuchKey", "NoSuchBucket"):
                hint = f". Publish a model: bucketlens model publish BUNDLE --to {self._uri}"
            elif not self._uri.bucket:
                hint = f". Put a bundle into {self._uri}, or versions of it and {POINTER_NAME}"
            raise ModelUnavailable(f"cannot read {self._uri.of(key)}: {_reason(error)}{hint}") from error


def _from_bucket(s3: ReadableS3, bucket: str) -> Read:
    def read(key: str, etag: str | None) -> tuple[bytes, str] | None:
        request: GetObject = {"Bucket": bucket, "Key": key}
        if etag:
            request["IfNoneMatch"] = etag
        try:
            response = s3.get_object(**request)
        except AwsError as error:
            if etag and error.status == 304:
                return None
            raise
        return response["Body"].read(), response["ETag"]

    return read


def _from_folder(key: str, etag: str | None) -> tuple[bytes, str] | None:
    data = Path("/", key).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    return None if digest == etag else (data, digest)


def _entry(manifest: Manifest, name: str) -> FileEntry:
    try:
        return manifest.files[name]
    except KeyError:
        raise ModelIntegrityError(f"version {manifest.version} has no file {name}") from None


def _reason(error: AwsError | OSError) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split()).strip(" .")
