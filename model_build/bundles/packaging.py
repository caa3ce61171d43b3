"""``bucketlens model package``: a converted run becomes a bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifier.bundle import MODEL_NAME, REPORT_NAME, FileEntry, Manifest
from classifier.errors import UserError
from model_build.bundles.bundling import (
    ORIGIN_NAME,
    GoldenFile,
    Origin,
    check_name,
    golden_files,
    tensor_digests,
    write_bundle,
)
from model_build.choices import QuantizationChoice
from model_build.conversion.convert import Conversion
from model_build.data.dataset import TEST, VALIDATION
from model_build.data.tensors import Progress, TensorSet
from model_build.evaluation.gate import (
    Check,
    GateLimits,
    Verdict,
    own_checks,
)
from model_build.files import require_free, write_atomic
from model_build.metrics.answers import judge
from model_build.metrics.calibration import scaled
from model_build.metrics.threshold import DEFAULT_PRECISION, choose_threshold, given_threshold
from model_build.report.evaluation_parts import mistake_pictures
from model_build.report.model_report import RunEvidence, render_report
from model_build.tflite.running import describe, inspect_quietly, load_quietly, predict_all
from model_build.training.config import TrainingConfig
from model_build.training.run import Run
from model_build.training.train import library_versions

_GOLDEN_PHOTOS = 8
_SURE = 0.9  # near 0 and 1 a probability hardly moves with the last bit of its logit, which interpreters may differ in


def package(
    run: Run,
    out: Path,
    *,
    name: str | None = None,
    quantization: QuantizationChoice = QuantizationChoice.AUTO,
    precision: float = DEFAULT_PRECISION,
    review_threshold: float | None = None,
    limits: GateLimits = GateLimits(),  # noqa: B008
    data: Path | None = None,
    progress: Progress = lambda *_: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Manifest:
    """Write the bundle folder ``out`` from a run, proven, with its report, of which the run keeps a copy.

    Args:
        name: of the model, in every result; the run folder's own by default.
        quantization: one format, or ``auto`` for the one that conversion chose.
        precision: wanted of the predictions that are not marked for review.
        review_threshold: set by hand; None chooses it for ``precision``, unless the run's configuration has set it.
        limits: of the gate, whose verdict goes into the report; publishing asks again.
        data: where the photos are now, if they have been moved.

    Raises:
        UserError: the run is not converted, its photos have gone, ``out`` is taken, or no test photo is right.
        ModelIntegrityError, ModelIncompatibleError: the bundle does not prove itself.
    """
    require_free(out)
    conversion = Conversion.read(run)
    chosen = conversion.of(conversion.chosen if quantization is QuantizationChoice.AUTO else quantization.value)
    content = (run.folder / chosen.file).read_bytes()
    plain = describe(
        content,
        inspect_quietly(content),
        name=check_name(run.folder.resolve().name if name is None else name),
        labels=run.labels,
        resize=run.policy,
        output_kind="logits",
        created=now(),
    )
    split = run.split(data)
    model = load_quietly(content, plain)
    validation, test = run.tensors(split.photos[VALIDATION]), run.tensors(split.photos[TEST])
    unscaled = {
        VALIDATION: predict_all(model, validation.images, progress),
        TEST: predict_all(model, test.images, progress),
    }
    truth = {VALIDATION: validation.targets(run.labels), TEST: test.targets(run.labels)}
    quality = {name: judge(unscaled[name], truth[name], run.labels, chosen.temperature) for name in unscaled}
    served = scaled(unscaled[VALIDATION], chosen.temperature)
    by_hand = _by_hand(run) if review_threshold is None else review_threshold
    answers = served.max(axis=1), served.argmax(axis=1) == truth[VALIDATION]
    review = choose_threshold(*answers, precision) if by_hand is None else given_threshold(by_hand, *answers, precision)
    served_test = scaled(unscaled[TEST], chosen.temperature)
    accepted = served_test.max(axis=1) >= review.value
    right = served_test.argmax(axis=1) == truth[TEST]
    manifest = replace(
        plain,
        output=replace(plain.output, temperature=chosen.temperature),
        review_threshold=review.value,
        training=run.config.to_document(),
        dataset={
            "fingerprint": run.record.fingerprint,
            "images": sum(run.record.images.values()),
            "splits": run.record.images,
            "unreadable": len(run.record.unreadable),
        },
        libraries={**run.record.libraries, **library_versions()},
    )
    rows = _choose_golden(test, truth[TEST], unscaled[TEST])
    photos = [GoldenFile(test.photos[row].name, test.photos[row].path.read_bytes()) for row in rows]
    golden = golden_files(load_quietly(content, manifest), photos)
    digests = tensor_digests(manifest, golden)
    # Their tensors as training, calibration and evaluation had them.
    measured = dict(zip(digests, (hashlib.sha256(test.images[row]).hexdigest() for row in rows), strict=True))
    on_test = quality[TEST].summary()
    verdict = Verdict(
        (
            *own_checks(on_test, measured, digests, limits),
            Check("live", None, "compared with the live version when it is published"),
        )
    )
    manifest = replace(
        manifest,
        metrics={
            "test": on_test,
            "validation": quality[VALIDATION].summary(),
            "quantization": chosen.quantization,
            "latency_ms": chosen.latency_ms,
            "review": {
                **review.to_document(),
                "test_accepted": round(float(accepted.mean()), 6),
                "test_precision": round(float(right[accepted].mean()), 6) if accepted.any() else None,
            },
            "golden_tensors": digests,
            "gate": verdict.to_document(),
            "tolerance": conversion.tolerance,
            "candidates": [asdict(candidate) for candidate in conversion.models],
        },
    )
    pictures = mistake_pictures(quality[TEST].worst, test.photos)
    listed = replace(manifest, files={MODEL_NAME: FileEntry.of(content)})
    report = render_report(listed, RunEvidence(run, quality[TEST], pictures)).encode()
    origin = Origin.of(data or Path(run.record.data), test).to_bytes()
    try:
        written = write_bundle(out, manifest, content, {**golden, REPORT_NAME: report}, {ORIGIN_NAME: origin})
        write_atomic(run.folder / REPORT_NAME, report)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror or error}") from None
    return written


def _by_hand(run: Run) -> float | None:
    """The configuration's review threshold where somebody has changed it."""
    value = run.config.review_threshold
    return None if value == TrainingConfig.review_threshold else value


def _choose_golden(test: TensorSet, truth: NDArray[np.int64], probabilities: NDArray[np.float32]) -> Sequence[int]:
    """Rows of one photo a class, of up to eight classes spread over all: right, sure, the smallest file of those."""
    chosen: list[int] = []
    right = probabilities.argmax(axis=1) == truth
    confidence = probabilities.max(axis=1)
    for label in np.unique(truth[right]):
        rows = np.flatnonzero(right & (truth == label))
        sure = rows[confidence[rows] >= _SURE]
        # Where none is sure, the surest.
        candidates = sure if len(sure) else rows[[int(confidence[rows].argmax())]]
        sizes = {int(row): (test.photos[row].path.stat().st_size, test.photos[row].name) for row in candidates}
        chosen.append(min(sizes, key=lambda row: sizes[row]))
    if not chosen:
        raise UserError("the model classifies no test photo rightly, so no golden photo can be chosen; train it better")
    spread = np.unique(np.linspace(0, len(chosen) - 1, min(_GOLDEN_PHOTOS, len(chosen))).astype(int))
    return [chosen[position] for position in spread]
