"""``bucketlens model evaluate --save``: an imported bundle again, as a new version with what was measured of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from classifier.bundle import MANIFEST_NAME, MODEL_NAME, REPORT_NAME, FileEntry, Manifest, version_id
from classifier.errors import UserError
from classifier.golden import GOLDEN_NAME
from model_build.bundles.bundling import ORIGIN_NAME, Origin, tensor_digests, write_bundle
from model_build.evaluation.evaluating import Evaluation
from model_build.evaluation.gate import Check, Evidence, GateLimits, TestedThreshold, Verdict, own_checks
from model_build.metrics.answers import AnswerMix, served_answers
from model_build.metrics.threshold import DEFAULT_PRECISION, given_threshold
from model_build.report.evaluation_parts import EvaluationEvidence, mistake_pictures
from model_build.report.model_report import render_report
from model_build.tflite.running import proven_interpreter

_LATER = timedelta(seconds=1)


def save_measurements(
    evaluation: Evaluation,
    out: Path,
    *,
    limits: GateLimits = GateLimits(),  # noqa: B008
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Manifest:
    """Write the evaluated bundle to the folder ``out`` with the figures in its manifest, report and gate.

    A bundle never changes: this is a new version of the same model, which answers as the one it was made from. The
    photos take the place that test photos have for a model trained here, and publishing compares on them.

    Raises:
        UserError: ``out`` is taken, or it is not an imported bundle that was evaluated.
        ModelIntegrityError, ModelIncompatibleError: the bundle does not prove itself.
    """
    bundle = evaluation.opened
    if bundle.folder is None or bundle.manifest.training:
        raise UserError(
            f"{bundle.name} was trained here: its test photos are measured by 'model package', and those figures stay."
            " --save is for imported bundles"
        )
    created = max(now(), datetime.fromisoformat(bundle.manifest.created_at) + _LATER)
    temperature = bundle.manifest.output.temperature
    confidence, right = served_answers(evaluation.unscaled, evaluation.truth, temperature)
    review = given_threshold(bundle.manifest.review_threshold, confidence, right, DEFAULT_PRECISION)
    companions = {
        name: data for name, data in bundle.files.items() if name not in (MANIFEST_NAME, MODEL_NAME, REPORT_NAME)
    }
    digests = tensor_digests(bundle.manifest, companions) if GOLDEN_NAME in companions else {}
    test = evaluation.quality.measured()
    evidence = Evidence(
        test=test,
        latency_ms=evaluation.latency,
        review=TestedThreshold(**asdict(review), test_accepted=review.accepted, test_precision=review.precision),
        golden_tensors=digests,
        gate=Verdict(
            (
                *own_checks(test, digests, digests, limits),
                Check("live", None, "compared with the live version when it is published"),
            )
        ),
        baseline=AnswerMix.of_probabilities(evaluation.unscaled, bundle.manifest.labels, temperature),
    )
    manifest = replace(
        bundle.manifest,
        version=version_id(created, bundle.content),
        created_at=created.isoformat(timespec="seconds"),
        files={MODEL_NAME: FileEntry.of(bundle.content)},
        metrics=evidence.to_metrics(),
        minimum_interpreter=dict([proven_interpreter()]),
    )
    pictures = mistake_pictures(evaluation.quality.worst, evaluation.photos)
    report = render_report(manifest, EvaluationEvidence(evaluation.quality, pictures), companions).encode()
    origin = Origin.of(evaluation.data, evaluation.photos, evaluation.sha256).to_bytes()
    try:
        return write_bundle(out, manifest, bundle.content, {**companions, REPORT_NAME: report}, {ORIGIN_NAME: origin})
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror or error}") from None
