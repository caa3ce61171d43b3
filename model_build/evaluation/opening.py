"""A model by the name a person gives: a run, a bundle, a published version, or what is live in S3."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from classifier.bundle import MANIFEST_NAME, VERSION_PATTERN, Manifest, ModelUri
from classifier.errors import BucketlensError, UserError
from classifier.loader import BundleLoader, open_local_bundle
from classifier.model import Model
from model_build.conversion.convert import Conversion
from model_build.tflite.running import describe, inspect_quietly, load_quietly
from model_build.training.run import RECORD_NAME, Run

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_SCHEME = "s3://"


@dataclass(frozen=True)
class Opened:
    """A loaded model; ``temperature`` is its own, also where it was loaded without; ``run`` where it came from one."""

    model: Model
    temperature: float
    run: Run | None = None

    @property
    def manifest(self) -> Manifest:
        return self.model.manifest

    @property
    def name(self) -> str:
        return f"{self.manifest.name} {self.manifest.version}"


def open_model(
    target: str | Path,
    *,
    at: str | None = None,
    client: Callable[[], S3Client] | None = None,
    calibrated: bool = True,
) -> Opened:
    """Open a run folder, a bundle folder, ``s3://bucket/models/`` (live), ``.../VERSION/``, or a version with ``at``.

    Args:
        at: the model location that a bare version belongs to.
        client: makes the S3 client, called only when one is needed.
        calibrated: False loads the model at temperature 1.

    Raises:
        UserError: it is none of these, or the run is not converted.
        ModelUnavailable, ModelIntegrityError, ModelIncompatibleError: as the function would raise them.
    """
    text = str(target)
    run = None
    if VERSION_PATTERN.fullmatch(text) and not Path(text).exists():
        if at is None:
            raise UserError(f"{text} is a version; say where it is published with --at s3://bucket/models/")
        text = f"{at.rstrip('/')}/{text}/"
    if text.startswith(_SCHEME):
        if client is None:
            raise UserError(f"{text} lies in S3; give a run or a bundle folder here")
        try:
            where = ModelUri.parse(text)
        except BucketlensError as error:
            raise UserError(str(error)) from None
        bundle = BundleLoader(where, client()).load()
        manifest, content = bundle.manifest, bundle.model
    else:
        manifest, content, run = _open_folder(Path(text))
    temperature = manifest.output.temperature
    if not calibrated:
        manifest = replace(manifest, output=replace(manifest.output, temperature=1.0))
    return Opened(load_quietly(content, manifest), temperature, run)


def _open_folder(folder: Path) -> tuple[Manifest, bytes, Run | None]:
    if (folder / MANIFEST_NAME).is_file():
        manifest, path = open_local_bundle(folder)
        return manifest, path.read_bytes(), None
    if not (folder / RECORD_NAME).is_file():
        what = "is neither a run nor a bundle" if folder.exists() else "does not exist"
        raise UserError(f"{folder} {what}; give the folder that 'model train' or 'model package' wrote")
    run = Run.open(folder)
    conversion = Conversion.read(run)
    chosen = conversion.of(conversion.chosen)
    content = (folder / chosen.file).read_bytes()
    manifest = describe(
        content,
        inspect_quietly(content),
        name=folder.resolve().name,
        labels=run.labels,
        resize=run.policy,
        output_kind="logits",
        created=datetime.fromisoformat(run.record.created_at).astimezone(UTC),
        temperature=chosen.temperature,
    )
    return manifest, content, run
