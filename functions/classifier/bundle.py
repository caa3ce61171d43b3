"""The model bundle: what a published model is, as data. Pure, no I/O.

``models/<version>/`` is immutable and holds ``model.tflite``, ``manifest.json``, ``golden/`` and ``report.html``;
``models/current.json`` is the pointer to the live version. ``model_build`` writes these, the function reads them.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

from classifier.errors import ConfigError, ModelIncompatibleError, ModelIntegrityError
from classifier.imaging import DRAFT_MARGINS, EARLIER_DRAFT_MARGIN, DecodedImage, Limits, ResizePolicy, decode

SCHEMA_VERSION = "1"
MANIFEST_NAME = "manifest.json"
POINTER_NAME = "current.json"
MODEL_NAME = "model.tflite"
REPORT_NAME = "report.html"
NOVELTY_NAME = "novelty.npy"

VERSION_PATTERN = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
_S3_URI = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<path>.*))?", re.DOTALL)
_FOLDER_URI = re.compile(r"file://(?P<path>/.*)", re.DOTALL)
_FILE_NAME = re.compile(r"(?!\.)[\w.+ -]+(?:/(?!\.)[\w.+ -]+)*")
_MISTYPED_VERSION = re.compile(r"\d{8}T.*")
MAX_LABEL_BYTES = 2048  # a label is the partition key of an index (DynamoDB Developer Guide, "Constraints")
_DTYPES = ("uint8", "int8", "float32")
SIGMOID, MULTI_LABEL = "sigmoid", "multi_label"
_OUTPUT_KINDS = ("softmax", "logits", SIGMOID, MULTI_LABEL)
_LIMITS = Limits()

T = TypeVar("T")


@dataclass(frozen=True)
class FileEntry:
    """Size in bytes and lower-case hexadecimal sha256 of one file of a bundle."""

    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, data: bytes) -> Self:
        return cls(len(data), hashlib.sha256(data).hexdigest())


@dataclass(frozen=True)
class Quantization:
    """Affine quantization: ``real = scale * (stored - zero_point)`` (TensorFlow Lite 8-bit quantization spec)."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class Scaling:
    """Per-channel value scaling outside the graph: ``x = (rgb - mean) / std``, in units of 0..255."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class InputSpec:
    """The model's input, of shape (1, height, width, 3)."""

    height: int
    width: int
    dtype: str
    quantization: Quantization | None = None


@dataclass(frozen=True)
class OutputSpec:
    """The model's output, of shape (1, outputs).

    Attributes:
        kind: ``softmax`` or ``logits``: an output a label, of which one is true. ``sigmoid``: one output, the
            probability of the second of two labels. ``multi_label``: an output a label, each with a probability of its
            own.
        temperature: calibrates: softmax(logits / temperature), and for the last two sigmoid(logit / temperature).
        thresholds: of a ``multi_label`` model, one a label: from this probability on the label applies.
    """

    kind: str
    dtype: str
    quantization: Quantization | None = None
    temperature: float = 1.0
    thresholds: tuple[float, ...] | None = None


@dataclass(frozen=True)
class EmbeddingSpec:
    """The model's other output, of shape (1, features): what its last layer sees of an image.

    Attributes:
        name: of the output's tensor in the file.
    """

    name: str
    features: int
    dtype: str
    quantization: Quantization | None = None


@dataclass(frozen=True)
class NoveltySpec:
    """Predictions with a novelty over ``limit``, 0 to 1, are marked for review."""

    limit: float


@dataclass(frozen=True)
class Manifest:
    """Everything the function must know to serve the model, and everything a reader should know to trust it.

    Attributes:
        draft_margin: as :func:`classifier.imaging.decode` has it.
    """

    name: str
    version: str
    created_at: str
    files: dict[str, FileEntry]
    labels: tuple[str, ...]
    input: InputSpec
    resize: ResizePolicy
    scaling: Scaling | None
    output: OutputSpec
    review_threshold: float
    embedding: EmbeddingSpec | None = None
    novelty: NoveltySpec | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    dataset: dict[str, Any] = field(default_factory=dict)
    libraries: dict[str, str] = field(default_factory=dict)
    minimum_interpreter: dict[str, str] = field(default_factory=dict)
    draft_margin: int = EARLIER_DRAFT_MARGIN
    schema_version: str = SCHEMA_VERSION

    @property
    def model(self) -> FileEntry:
        return self.files[MODEL_NAME]

    @property
    def outputs(self) -> int:
        """How many numbers the model gives."""
        return 1 if self.output.kind == SIGMOID else len(self.labels)

    def decode(self, data: bytes, limits: Limits = _LIMITS) -> DecodedImage:
        """An image file as this model takes it: :func:`classifier.imaging.decode`, which raises ImageRejected."""
        return decode(
            data,
            height=self.input.height,
            width=self.input.width,
            policy=self.resize,
            draft_margin=self.draft_margin,
            limits=limits,
        )

    def to_bytes(self) -> bytes:
        return (json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Parse and check ``manifest.json``.

        Raises:
            ModelIntegrityError: it is not a manifest, or one with parts missing or wrong.
            ModelIncompatibleError: it is of a schema version this code does not know.
        """
        document = json_object(data, MANIFEST_NAME)
        if document.get("schema_version") != SCHEMA_VERSION:
            raise ModelIncompatibleError(
                f"{MANIFEST_NAME} has schema version {document.get('schema_version')!r}; this code reads"
                f" {SCHEMA_VERSION!r}. Publish the model with this release of Bucketlens, or update the function"
            )
        manifest = parsed(MANIFEST_NAME, lambda: cls._from_document(document))
        manifest._check()
        return manifest

    @classmethod
    def _from_document(cls, document: dict[str, Any]) -> Self:
        scaling = document["scaling"]
        return cls(
            name=str(document["name"]),
            version=str(document["version"]),
            created_at=str(document["created_at"]),
            files={
                str(name): FileEntry(int(entry["size_bytes"]), str(entry["sha256"]))
                for name, entry in document["files"].items()
            },
            labels=tuple(str(label) for label in document["labels"]),
            input=InputSpec(
                height=int(document["input"]["height"]),
                width=int(document["input"]["width"]),
                dtype=str(document["input"]["dtype"]),
                quantization=_quantization(document["input"].get("quantization")),
            ),
            resize=ResizePolicy(document["resize"]),
            scaling=None if scaling is None else Scaling(_triple(scaling["mean"]), _triple(scaling["std"])),
            output=OutputSpec(
                kind=str(document["output"]["kind"]),
                dtype=str(document["output"]["dtype"]),
                quantization=_quantization(document["output"].get("quantization")),
                temperature=float(document["output"].get("temperature", 1.0)),
                thresholds=_thresholds(document["output"].get("thresholds")),
            ),
            review_threshold=float(document["review_threshold"]),
            embedding=_embedding(document.get("embedding")),
            novelty=None if document.get("novelty") is None else NoveltySpec(float(document["novelty"]["limit"])),
            metrics=dict(document.get("metrics", {})),
            training=dict(document.get("training", {})),
            dataset=dict(document.get("dataset", {})),
            libraries=dict(document.get("libraries", {})),
            minimum_interpreter=dict(document.get("minimum_interpreter", {})),
            draft_margin=int(document.get("draft_margin", EARLIER_DRAFT_MARGIN)),
        )

    def _check(self) -> None:
        problems = [
            (not VERSION_PATTERN.fullmatch(self.version), f"version {self.version!r} is not a valid version"),
            (MODEL_NAME not in self.files, f"it does not list {MODEL_NAME}"),
            # Names become paths below the cache folder and keys below the version's prefix, and must stay there.
            (not all(map(_FILE_NAME.fullmatch, self.files)), "a file name points outside the bundle"),
            (not self.labels, "it has no labels"),
            (not all(label.strip() for label in self.labels), "one of its labels is empty"),
            (
                any(len(label.encode("utf-8", "surrogatepass")) > MAX_LABEL_BYTES for label in self.labels),
                f"one of its labels has more than {MAX_LABEL_BYTES:,} bytes, the limit of a DynamoDB index key",
            ),
            (self.input.dtype not in _DTYPES, f"input dtype {self.input.dtype!r} is not one of {', '.join(_DTYPES)}"),
            (not (self.input.height > 0 and self.input.width > 0), "the input has no size"),
            (
                self.output.dtype not in _DTYPES,
                f"output dtype {self.output.dtype!r} is not one of {', '.join(_DTYPES)}",
            ),
            (self.draft_margin not in DRAFT_MARGINS, f"the draft margin {self.draft_margin} is unknown"),
            (self.output.kind not in _OUTPUT_KINDS, f"output kind {self.output.kind!r} is unknown"),
            (
                self.output.kind == SIGMOID and len(self.labels) != 2,
                f"one sigmoid tells two labels apart, not {len(self.labels)}",
            ),
            (
                (self.output.thresholds is not None) != (self.output.kind == MULTI_LABEL)
                or len(self.output.thresholds or self.labels) != len(self.labels)
                or not all(0 < one <= 1 for one in self.output.thresholds or ()),
                "a multi_label output, and no other, has a threshold over 0 and up to 1 for every label",
            ),
            (not 0 < self.output.temperature < math.inf, "the temperature is not a positive number"),
            (not 0 <= self.review_threshold <= 1, "the review threshold is not between 0 and 1"),
            (self.scaling is not None and not all(self.scaling.std), "the scaling divides by zero"),
            (
                self.embedding is not None and self.embedding.dtype not in _DTYPES,
                f"embedding dtype is not one of {', '.join(_DTYPES)}",
            ),
            (
                self.novelty is not None and (self.embedding is None or NOVELTY_NAME not in self.files),
                f"it has a novelty limit, but no embedding or no {NOVELTY_NAME}",
            ),
            (self.novelty is not None and not 0 <= self.novelty.limit <= 1, "the novelty limit is not between 0 and 1"),
        ]
        for wrong, what in problems:
            if wrong:
                raise ModelIntegrityError(f"{MANIFEST_NAME} cannot be used: {what}")


@dataclass(frozen=True)
class Pointer:
    """``current.json``: which version is live, and the sha256 of its manifest."""

    version: str
    manifest_sha256: str

    def to_bytes(self) -> bytes:
        return (json.dumps(asdict(self)) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises ModelIntegrityError for anything but a pointer."""
        document = json_object(data, POINTER_NAME)
        pointer = parsed(POINTER_NAME, lambda: cls(str(document["version"]), str(document["manifest_sha256"])))
        if not VERSION_PATTERN.fullmatch(pointer.version):
            raise ModelIntegrityError(f"{POINTER_NAME} names {pointer.version!r}, which is not a version")
        return pointer


@dataclass(frozen=True)
class ModelUri:
    """Where bundles lie: ``s3://bucket/models/`` (follow the pointer) or ``s3://bucket/models/<version>/`` (pinned).

    ``file:///models/`` is the same in a folder of this machine, or a bundle's own folder; its ``bucket`` is empty.
    """

    bucket: str
    prefix: str
    version: str | None = None

    @classmethod
    def parse(cls, text: str, *, folders: bool = False) -> Self:
        """Read a location.

        Args:
            folders: whether it may be a folder of this machine.

        Raises:
            ConfigError: ``text`` is not such a URI.
        """
        match = _S3_URI.fullmatch(text.strip())
        if folders and (folder := _FOLDER_URI.fullmatch(text.strip())):
            return cls._of("", folder["path"], text)
        if match is None:
            alternative = ", or file:///models/" if folders else ""
            raise ConfigError(
                f"{text!r} is not a model location; give s3://bucket/models/ or s3://bucket/models/VERSION/, where the"
                f" bucket has 3 to 63 lowercase letters, digits, hyphens and dots{alternative}"
            )
        return cls._of(match["bucket"], match["path"] or "", text)

    @classmethod
    def _of(cls, bucket: str, path: str, text: str) -> Self:
        parts = [part for part in path.split("/") if part]
        version = parts.pop() if parts and VERSION_PATTERN.fullmatch(parts[-1]) else None
        if version is None and parts and _MISTYPED_VERSION.fullmatch(parts[-1]):
            raise ConfigError(
                f"{text!r} ends in {parts[-1]!r}, which is not a version; versions look like 20261120T101500Z-5d313724"
            )
        return cls(bucket, "".join(f"{part}/" for part in parts), version)

    def key(self, version: str, name: str) -> str:
        """The object key of file ``name`` of ``version``."""
        return f"{self.prefix}{version}/{name}"

    @property
    def pointer_key(self) -> str:
        return f"{self.prefix}{POINTER_NAME}"

    def __str__(self) -> str:
        return self.of(self.prefix + (f"{self.version}/" if self.version else ""))

    def of(self, key: str) -> str:
        """The URI of an object of the bucket, or of a file."""
        return f"s3://{self.bucket}/{key}" if self.bucket else f"file:///{key}"


def version_id(created: datetime, model: bytes) -> str:
    """A version that sorts by time and names its content: ``20261120T101500Z-5d313724``.

    Args:
        created: an aware time.
        model: the content of ``model.tflite``.
    """
    return f"{created.astimezone(UTC):%Y%m%dT%H%M%SZ}-{hashlib.sha256(model).hexdigest()[:8]}"


def verify(name: str, data: bytes, expected: FileEntry, mend: str = "Publish the bundle again") -> bytes:
    """Return ``data`` if it is the content of file ``name`` that the manifest lists.

    Args:
        mend: what a person is told to do when it is not.

    Raises:
        ModelIntegrityError: its size or sha256 is another.
    """
    actual = FileEntry.of(data)
    if actual != expected:
        raise ModelIntegrityError(
            f"{name} is not what the manifest lists: {actual.size_bytes} bytes, sha256 {actual.sha256[:12]}...;"
            f" expected {expected.size_bytes} bytes, sha256 {expected.sha256[:12]}.... {mend}"
        )
    return data


def json_object(data: bytes, name: str) -> dict[str, Any]:
    """The JSON object that file ``name`` of a bundle holds; raises ModelIntegrityError for anything else."""
    document = parsed(name, lambda: json.loads(data))
    if not isinstance(document, dict):
        raise ModelIntegrityError(f"{name} is not a JSON object")
    return document


def parsed(name: str, parse: Callable[[], T]) -> T:
    """What ``parse`` makes of file ``name`` of a bundle; raises ModelIntegrityError where it stumbles over its form."""
    try:
        return parse()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelIntegrityError(f"{name} cannot be read: {type(error).__name__} {error}") from error


def _quantization(document: dict[str, Any] | None) -> Quantization | None:
    return None if document is None else Quantization(float(document["scale"]), int(document["zero_point"]))


def _thresholds(values: Any) -> tuple[float, ...] | None:
    return None if values is None else tuple(float(value) for value in values)


def _embedding(document: dict[str, Any] | None) -> EmbeddingSpec | None:
    if document is None:
        return None
    return EmbeddingSpec(
        str(document["name"]),
        int(document["features"]),
        str(document["dtype"]),
        _quantization(document.get("quantization")),
    )


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
