"""``bucketlens model package``: a converted run becomes a bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from classifier.bundle import MODEL_NAME, NOVELTY_NAME, REPORT_NAME, FileEntry, Manifest, NoveltySpec
from classifier.errors import UserError
from classifier.model import Model
from model_build.bundles.bundling import (
    ORIGIN_NAME,
    GoldenFile,
    Origin,
    check_name,
    golden_files,
    tensor_digests,
    write_bundle,
)
from model_build.choices import QuantizationChoice, Runtime
from model_build.conversion.convert import Conversion
from model_build.data.dataset import TEST, TRAIN, VALIDATION, Photo
from model_build.data.tensors import Progress, TensorSet
from model_build.evaluation.gate import Check, Evidence, GateLimits, TestedThreshold, Verdict, own_checks
from model_build.evaluation.novelty import DEFAULT_LIMIT, FEWEST_PHOTOS, MOST_PHOTOS, FittedNovelty
from model_build.files import require_free, write_atomic
from model_build.metrics.answers import AnswerMix, Quality, judge, served_answers
from model_build.metrics.threshold import (
    DEFAULT_PRECISION,
    NEVER,
    choose_threshold,
    given_threshold,
    guaranteed_threshold,
)
from model_build.report.evaluation_parts import EvaluationEvidence, mistake_pictures
from model_build.report.model_report import render_report
from model_build.tflite.running import Latency, answer_all, describe, inspect_quietly, load_quietly, stored_scaling
from model_build.tflite.runtimes import require_runnable
from model_build.training.config import TrainingConfig
from model_build.training.run import Run
from model_build.training.train import library_versions

_GOLDEN_PHOTOS = 8
_Served = tuple[NDArray[np.float64], NDArray[np.bool_]]
_SURE = 0.9  # near 0 and 1 a probability hardly moves with the last bit of its logit, which interpreters may differ in


def package(
    run: Run,
    out: Path,
    *,
    name: str | None = None,
    quantization: QuantizationChoice = QuantizationChoice.AUTO,
    runtime: Runtime = Runtime.LITERT,
    precision: float = DEFAULT_PRECISION,
    risk: float | None = None,
    review_threshold: float | None = None,
    novelty_limit: float = DEFAULT_LIMIT,
    limits: GateLimits = GateLimits(),  # noqa: B008
    data: Path | None = None,
    progress: Progress = lambda *_: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Manifest:
    """Write the bundle folder ``out`` from a run, proven, with its report, of which the run keeps a copy.

    Args:
        name: of the model, in every result; the run folder's own by default.
        quantization: one format, or ``auto`` for the one that conversion chose.
        runtime: the interpreter that will serve.
        precision: wanted of the predictions that are not marked for review.
        risk: guaranteed instead, of those: at most this share is wrong, with 95 % confidence.
        review_threshold: set by hand; None chooses it for ``precision``, unless the run's configuration has set it.
        novelty_limit: share of the validation photos that are not marked for review as novel.
        limits: of the gate, whose verdict goes into the report; publishing asks again.
        data: where the photos are now, if they have been moved.

    Raises:
        UserError: the run is not converted, its photos have gone, ``out`` is taken, no test photo is right, or
            ``runtime`` cannot run the model.
        ModelIntegrityError, ModelIncompatibleError: the bundle does not prove itself.
    """
    require_free(out)
    conversion = Conversion.read(run)
    chosen = conversion.of(conversion.chosen if quantization is QuantizationChoice.AUTO else quantization.value)
    content = (run.folder / chosen.file).read_bytes()
    require_runnable(content, runtime, f"the {chosen.quantization} model")
    facts = inspect_quietly(content, len(run.labels))
    plain = describe(
        content,
        facts,
        name=check_name(run.folder.resolve().name if name is None else name),
        labels=run.labels,
        resize=run.policy,
        draft_margin=run.record.draft_margin,
        output_kind="logits",
        created=now(),
        scaling=stored_scaling(facts),
    )
    split, model = run.split(data), load_quietly(content, plain)
    validation = _Answers.of(run, model, split.photos[VALIDATION], chosen.temperature, progress)
    test = _Answers.of(run, model, split.photos[TEST], chosen.temperature, progress)
    novelty = _novelty(run, model, split.photos[TRAIN], validation, progress)
    served = [_served(answers, novelty, novelty_limit) for answers in (validation, test)]
    review = _review(run, served[0], served[1], precision, risk, review_threshold)
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
    companions: dict[str, bytes] = {}
    if novelty is not None:
        companions[NOVELTY_NAME] = novelty.known.to_bytes()
        manifest = replace(manifest, novelty=NoveltySpec(novelty_limit))
    golden, recorded = _golden(load_quietly(content, manifest, companions.get(NOVELTY_NAME, b"")), test)
    digests = tensor_digests(manifest, golden)
    verdict = Verdict(
        (
            *own_checks(test.quality.measured(), recorded, digests, limits),
            Check("live", None, "compared with the live version when it is published"),
        )
    )
    evidence = Evidence(
        test=test.quality.measured(),
        validation=validation.quality.measured(),
        quantization=chosen.quantization,
        latency_ms=Latency(**chosen.latency_ms),
        review=review,
        golden_tensors=digests,
        gate=verdict,
        tolerance=conversion.tolerance,
        candidates=conversion.models,
        baseline=AnswerMix.of_probabilities(validation.unscaled, run.labels, chosen.temperature),
        novelty=None if novelty is None else novelty.measured(novelty_limit, test.embeddings),
    )
    manifest = replace(manifest, metrics=evidence.to_metrics(), files={MODEL_NAME: FileEntry.of(content)})
    pictures = mistake_pictures(test.quality.worst, test.photos.photos)
    report = render_report(manifest, EvaluationEvidence(test.quality, pictures, run)).encode()
    origin = Origin.of(data or Path(run.record.data), test.photos.photos, test.photos.sha256).to_bytes()
    try:
        companions |= {**golden, REPORT_NAME: report}
        written = write_bundle(out, manifest, content, companions, {ORIGIN_NAME: origin})
        write_atomic(run.folder / REPORT_NAME, report)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror or error}") from None
    return written


@dataclass(frozen=True)
class _Answers:
    """What a model says of the photos of one split.

    Attributes:
        unscaled: (photos, labels), probabilities at temperature 1.
        embeddings: (photos, features); of a model without (photos, 0).
        truth: (photos,), the index of each photo's label.
    """

    photos: TensorSet
    unscaled: NDArray[np.float32]
    embeddings: NDArray[np.float32]
    truth: NDArray[np.int64]
    quality: Quality

    @classmethod
    def of(cls, run: Run, model: Model, photos: tuple[Photo, ...], temperature: float, progress: Progress) -> Self:
        tensors = run.tensors(photos)
        (unscaled, embeddings), truth = answer_all(model, tensors.images, progress), tensors.targets(run.labels)
        return cls(tensors, unscaled, embeddings, truth, judge(unscaled, truth, run.labels, temperature))


def _served(answers: _Answers, novelty: FittedNovelty | None, limit: float) -> _Served:
    """Confidence of each prediction, NEVER for novel photos, which need review whatever it is; whether it is right."""
    confidence, right = served_answers(answers.unscaled, answers.truth, answers.quality.temperature)
    if novelty is not None:
        confidence[[novelty.known.novelty(one) > limit for one in answers.embeddings]] = NEVER
    return confidence, right


def _review(
    run: Run,
    validation: _Served,
    test: _Served,
    precision: float,
    risk: float | None,
    review_threshold: float | None,
) -> TestedThreshold:
    """The review threshold, chosen on the validation photos unless it is given, and what it does on the test photos."""
    configured = None if run.config.review_threshold == TrainingConfig.review_threshold else run.config.review_threshold
    by_hand = configured if review_threshold is None else review_threshold
    if review_threshold is not None and risk is not None:
        raise UserError("a review threshold set by hand guarantees no risk: give one or the other")
    if by_hand is not None and risk is None:
        chosen = given_threshold(by_hand, *validation, precision)
    elif risk is not None:
        chosen = guaranteed_threshold(*validation, risk)
    else:
        chosen = choose_threshold(*validation, precision)
    confidence, right = test
    accepted = confidence >= chosen.value
    return TestedThreshold(
        **asdict(chosen),
        test_accepted=round(float(accepted.mean()), 6),
        test_precision=round(float(right[accepted].mean()), 6) if accepted.any() else None,
    )


def _novelty(
    run: Run, model: Model, training: Sequence[Photo], validation: _Answers, progress: Progress
) -> FittedNovelty | None:
    """None for a model without embedding, or with too few validation photos."""
    if model.manifest.embedding is None or len(validation.photos) < FEWEST_PHOTOS:
        return None
    # Evenly spread over the sorted names, so that every class takes part.
    rows = np.unique(np.linspace(0, len(training) - 1, min(MOST_PHOTOS, len(training))).astype(int))
    _, embeddings = answer_all(model, run.tensors(tuple(training[row] for row in rows)).images, progress)
    return FittedNovelty.fit(embeddings, validation.embeddings)


def _golden(model: Model, test: _Answers) -> tuple[dict[str, bytes], dict[str, str]]:
    """The golden files, and the sha256 of the photos' tensors as training, calibration and evaluation had them."""
    rows = _choose_golden(test)
    photos = [test.photos.photos[row] for row in rows]
    golden = golden_files(model, [GoldenFile(photo.name, photo.path.read_bytes()) for photo in photos])
    names = tensor_digests(model.manifest, golden)
    digests = (hashlib.sha256(test.photos.images[row]).hexdigest() for row in rows)
    return golden, dict(zip(names, digests, strict=True))


def _choose_golden(test: _Answers) -> Sequence[int]:
    """Rows of one photo a class, of up to eight classes spread over all: right, sure, the smallest file of those."""
    chosen: list[int] = []
    right = test.unscaled.argmax(axis=1) == test.truth
    confidence = test.unscaled.max(axis=1)
    for label in np.unique(test.truth[right]):
        rows = np.flatnonzero(right & (test.truth == label))
        sure = rows[confidence[rows] >= _SURE]
        # Where none is sure, the surest.
        candidates = sure if len(sure) else rows[[int(confidence[rows].argmax())]]
        photos = {int(row): test.photos.photos[row] for row in candidates}
        chosen.append(min(photos, key=lambda row: (photos[row].path.stat().st_size, photos[row].name)))
    if not chosen:
        raise UserError(
            "the model classifies none of the test photos correctly, so there is no golden photo to choose; train it"
            " for longer or on more photos"
        )
    spread = np.unique(np.linspace(0, len(chosen) - 1, min(_GOLDEN_PHOTOS, len(chosen))).astype(int))
    return [chosen[position] for position in spread]
