"""A model by the name a person gives: a run, a bundle, a published version, or what is live in S3."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from classifier.bundle import MANIFEST_NAME, MODEL_NAME, NOVELTY_NAME, VERSION_PATTERN, Manifest, ModelUri, verify
from classifier.errors import BucketlensError, ModelIntegrityError, UserError
from classifier.golden import GOLDEN_NAME, GoldenSet
from classifier.loader import BundleLoader
from classifier.model import Model
from model_build.conversion.convert import Conversion
from model_build.data.boto_s3 import BotoS3
from model_build.evaluation.gate import Evidence
from model_build.tflite.running import describe, inspect_quietly, load_quietly, stored_scaling
from model_build.training.run import RECORD_NAME, Run

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_SCHEME = "s3://"
_MEND = "The file was changed or cut since: copy the bundle anew, or make it again ('model package', 'model import')"


@dataclass(frozen=True)
class OpenBundle:
    """A model with what is known of it: opened and verified once, then passed on as this value.

    Attributes:
        content: of ``model.tflite``.
        files: content of the other files by name, the manifest's own bytes among them; only of a bundle folder.
        novelty: of ``novelty.npy``; nothing for a bundle without.
        folder: of a bundle on this machine.
        run: where the model is a run's that is not packaged yet.
    """

    manifest: Manifest
    content: bytes
    files: Mapping[str, bytes]
    novelty: bytes = b""
    folder: Path | None = None
    run: Run | None = None

    @property
    def name(self) -> str:
        return f"{self.manifest.name} {self.manifest.version}"

    @cached_property
    def evidence(self) -> Evidence:
        return Evidence.of(self.manifest)

    @cached_property
    def model(self) -> Model:
        """Loaded when first asked for. Raises ModelIncompatibleError."""
        return load_quietly(self.content, self.manifest, self.novelty)

    def uncalibrated(self) -> Model:
        """The model at temperature 1."""
        manifest = replace(self.manifest, output=replace(self.manifest.output, temperature=1.0))
        return load_quietly(self.content, manifest, self.novelty)

    def prove(self) -> Self:
        """Load it and repeat the golden test, with the function's own code.

        Raises:
            ModelIntegrityError, ModelIncompatibleError: it does not compute what it says.
        """
        model = self.model
        if GOLDEN_NAME in self.files:
            model.check_golden(GoldenSet.from_bytes(self.files[GOLDEN_NAME]), self.files.__getitem__)
        return self


def open_bundle(folder: Path) -> OpenBundle:
    """Open a bundle folder: every file the manifest lists is read and verified.

    Raises:
        UserError: no such folder, or one that is no bundle.
        ModelIntegrityError: a file is missing or is not what the manifest says.
        ModelIncompatibleError: the manifest is of an unknown schema version.
    """
    if not (folder / MANIFEST_NAME).is_file():
        what = "is not a bundle: it has no manifest.json" if folder.is_dir() else "does not exist"
        raise UserError(f"the bundle {folder} {what}; make one with 'bucketlens model package' or 'model import'")
    files = {MANIFEST_NAME: _read(folder / MANIFEST_NAME)}
    manifest = Manifest.from_bytes(files[MANIFEST_NAME])
    for name, entry in manifest.files.items():
        files[name] = verify(str(folder / name), _read(folder / name), entry, _MEND)
    return OpenBundle(manifest, files[MODEL_NAME], files, files.get(NOVELTY_NAME, b""), folder)


def open_published(where: ModelUri, client: S3Client) -> OpenBundle:
    """Open a pinned version, or the one the pointer names. Raises as the function's loader does."""
    bundle = BundleLoader(where, BotoS3(client)).load()
    return OpenBundle(bundle.manifest, bundle.model, {}, bundle.novelty)


def open_model(
    target: str | Path, *, at: str | None = None, client: Callable[[], S3Client] | None = None
) -> OpenBundle:
    """Open a run folder, a bundle folder, ``s3://bucket/models/`` (live), ``.../VERSION/``, or a version with ``at``.

    Args:
        at: the model location that a bare version belongs to.
        client: makes the S3 client, called only when one is needed.

    Raises:
        UserError: it is none of these, or the run is not converted.
        ModelUnavailable, ModelIntegrityError, ModelIncompatibleError: as the function would raise them.
    """
    text = str(target)
    if VERSION_PATTERN.fullmatch(text) and not Path(text).exists():
        if at is None:
            raise UserError(f"{text} is a version; say where it is published with --at s3://bucket/models/")
        text = f"{at.rstrip('/')}/{text}/"
    if text.startswith(_SCHEME):
        if client is None:
            raise UserError(f"{text} is in S3; give a run or a bundle folder here")
        try:
            where = ModelUri.parse(text)
        except BucketlensError as error:
            raise UserError(str(error)) from None
        return open_published(where, client())
    folder = Path(text)
    if (folder / MANIFEST_NAME).is_file():
        return open_bundle(folder)
    if not (folder / RECORD_NAME).is_file():
        what = "is neither a run nor a bundle" if folder.exists() else "does not exist"
        raise UserError(f"{folder} {what}; give the folder that 'model train' or 'model package' wrote")
    return _open_run(Run.open(folder))


def _open_run(run: Run) -> OpenBundle:
    conversion = Conversion.read(run)
    chosen = conversion.of(conversion.chosen)
    content = (run.folder / chosen.file).read_bytes()
    facts = inspect_quietly(content, len(run.labels))
    manifest = describe(
        content,
        facts,
        name=run.folder.resolve().name,
        labels=run.labels,
        resize=run.policy,
        draft_margin=run.record.draft_margin,
        output_kind="logits",
        created=datetime.fromisoformat(run.record.created_at).astimezone(UTC),
        scaling=stored_scaling(facts),
        temperature=chosen.temperature,
    )
    return OpenBundle(manifest, content, {}, run=run)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelIntegrityError(f"{path} cannot be read: {error.strerror}") from error
