"""What one does with bundles, a function each: make them, measure them, publish them; see :mod:`model_build.api`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from classifier.errors import UserError
from model_build.choices import OutputChoice, QuantizationChoice, Resize, Runtime, ScalingChoice
from model_build.data.remote import s3_client
from model_build.training.observers import SILENT, Watcher

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from classifier.bundle import Manifest
    from model_build.bundles.publish import Publication
    from model_build.bundles.releases import Live, PublishedVersion
    from model_build.evaluation.evaluating import Evaluation
    from model_build.evaluation.gate import Evidence, GateLimits


@dataclass(frozen=True)
class Packaged:
    """A bundle's manifest, and what packaging measured."""

    manifest: Manifest
    evidence: Evidence


def save_evaluation(evaluation: Evaluation, out: Path) -> Packaged:
    """Write an evaluated bundle that was imported to the folder ``out``, as a new version with the figures in its
    manifest, report and gate.

    Example: ``save_evaluation(evaluate(Path("bundles/mob"), Path("photos")), Path("bundles/mob-measured"))``
    """
    from model_build.bundles.measuring import save_measurements
    from model_build.evaluation.gate import Evidence

    manifest = save_measurements(evaluation, out)
    return Packaged(manifest, Evidence.of(manifest))


def package(
    run: Path,
    out: Path,
    *,
    name: str | None = None,
    quantization: QuantizationChoice = QuantizationChoice.AUTO,
    runtime: Runtime = Runtime.LITERT,
    precision: float = 0.95,
    risk: float | None = None,
    review_threshold: float | None = None,
    novelty_limit: float = 0.95,
    data: Path | None = None,
    watcher: Watcher = SILENT,
) -> Packaged:
    """Write the bundle folder ``out`` from a converted run: model, manifest, report and a few golden photos.

    Args:
        runtime: the interpreter that will serve; a model that it cannot run is refused.
        precision: that predictions not marked for review should have.
        risk: instead, guarantee with 95 % confidence that at most this share of them is wrong.
        review_threshold: instead, set the limit directly.
        novelty_limit: share of known photos that are not marked for review as novel; 1 marks none.
        data: where the run's photos are now, if they have been moved.

    Example: ``package(Path("runs/digits"), Path("bundles/digits")).manifest.version``
    """
    from model_build.bundles.packaging import package as package_run
    from model_build.evaluation.gate import Evidence
    from model_build.training.run import Run

    watcher.step("packaging")
    manifest = package_run(
        Run.open(run),
        out,
        name=name,
        quantization=quantization,
        runtime=runtime,
        precision=precision,
        risk=risk,
        review_threshold=review_threshold,
        novelty_limit=novelty_limit,
        data=data,
        progress=watcher.progress,
    )
    return Packaged(manifest, Evidence.of(manifest))


def import_model(
    tflite: Path,
    labels: Path,
    out: Path,
    *,
    name: str | None = None,
    golden: Path | None = None,
    resize: Resize = Resize.STRETCH,
    scaling: ScalingChoice = ScalingChoice.AUTO,
    output: OutputChoice = OutputChoice.AUTO,
    review_threshold: float = 0.5,
    label_threshold: float = 0.5,
    watcher: Watcher = SILENT,
) -> Manifest:
    """Write the bundle folder ``out`` from a TensorFlow Lite classifier and its labels, one per line in output order.

    Args:
        golden: folder with a few photos for the bundle's self-test.
        label_threshold: of a multi-label model, the probability from which on a label applies.

    Example: ``import_model(Path("mobilenet.tflite"), Path("labels.txt"), Path("bundles/mobilenet"))``
    """
    from classifier.imaging import ResizePolicy
    from model_build.bundles.importing import ImportRequest
    from model_build.bundles.importing import import_model as import_request

    policy = ResizePolicy(resize.value)
    request = ImportRequest(tflite, labels, name, golden, policy, scaling, output, review_threshold, label_threshold)
    return import_request(request, out, say=watcher.say)


def publish(
    bundle: Path,
    to: str,
    *,
    promote: bool = True,
    dry_run: bool = False,
    limits: GateLimits | None = None,
    data: Path | None = None,
    force: str | None = None,
    watcher: Watcher = SILENT,
    client: S3Client | None = None,
) -> Publication:
    """Verify a bundle, put it through the gate, upload it as an immutable version, and make that the live one.

    Args:
        to: ``s3://bucket/models/``.
        data: where the bundle's test photos are now, if they have been moved.
        force: why it is published although the gate refuses it; the reason is kept in S3.

    Example: ``publish(Path("bundles/digits"), "s3://my-bucket/models/").version``
    """
    from model_build.bundles.publish import publish_bundle
    from model_build.evaluation.gate import GateLimits

    if force is not None and not force.strip():
        raise UserError("--force needs a reason, which is kept with the version")
    watcher.step("verifying")
    return publish_bundle(
        bundle,
        to,
        client or s3_client(),
        promote=promote,
        dry_run=dry_run,
        limits=limits or GateLimits(),
        data=data,
        force=force,
        progress=watcher.progress,
    )


def promote(version: str, at: str, *, dry_run: bool = False, client: S3Client | None = None) -> Live:
    """Make a published version the live one; returns what was live before.

    Example: ``promote("20261120T101500Z-5d313724", "s3://my-bucket/models/")``
    """
    from model_build.bundles import releases

    return releases.promote(version, at, client or s3_client(), dry_run=dry_run)


def rollback(at: str, *, dry_run: bool = False, client: S3Client | None = None) -> tuple[str, str]:
    """Make the previously live version live again; returns the version left and the one now live.

    Example: ``rollback("s3://my-bucket/models/")``
    """
    from model_build.bundles import releases

    return releases.rollback(at, client or s3_client(), dry_run=dry_run)


def versions(at: str, *, client: S3Client | None = None) -> list[PublishedVersion]:
    """The published versions, newest first.

    Example: ``[one.version for one in versions("s3://my-bucket/models/") if one.live]``
    """
    from model_build.bundles import releases

    return releases.versions(at, client or s3_client())
