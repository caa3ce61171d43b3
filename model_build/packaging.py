"""``bucketlens model package``: a converted run becomes a bundle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifier.bundle import REPORT_NAME, Manifest
from classifier.errors import UserError
from model_build import runs
from model_build.bundling import GoldenFile, check_name, golden_files, write_bundle
from model_build.candidate import describe, inspect_quietly, load_quietly, predict_all
from model_build.choices import QuantizationChoice
from model_build.conversion import Conversion
from model_build.dataset import TEST
from model_build.files import require_free
from model_build.metrics import score
from model_build.report import render_report
from model_build.tensors import Progress, TensorSet
from model_build.training import library_versions

_GOLDEN_PHOTOS = 8
_SURE = 0.9  # near 0 and 1 a probability hardly moves with the last bit of its logit, which interpreters may differ in


def package(
    run: runs.Run,
    out: Path,
    *,
    name: str | None = None,
    quantization: QuantizationChoice = QuantizationChoice.AUTO,
    data: Path | None = None,
    progress: Progress = lambda *_: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Manifest:
    """Write the bundle folder ``out`` from a run, proven.

    Args:
        name: of the model, in every result; the run folder's own by default.
        quantization: ``float32``, ``int8``, or ``auto`` for the one that conversion chose.
        data: where the photos are now, if they have been moved.

    Raises:
        UserError: the run is not converted, its photos have gone, ``out`` is taken, or no test photo is right.
        ModelIntegrityError, ModelIncompatibleError: the bundle does not prove itself.
    """
    require_free(out)
    conversion = Conversion.read(run)
    chosen = conversion.of(conversion.chosen if quantization is QuantizationChoice.AUTO else quantization.value)
    content = (run.folder / chosen.file).read_bytes()
    created = now()
    manifest = describe(
        content,
        inspect_quietly(content),
        name=check_name(run.folder.resolve().name if name is None else name),
        labels=run.labels,
        resize=run.policy,
        output_kind="logits",
        created=created,
        review_threshold=run.config.review_threshold,
    )
    test = run.tensors(run.split(data).photos[TEST])
    model = load_quietly(content, manifest)
    probabilities = predict_all(model, test.images, progress)
    truth = test.targets(run.labels)
    scores = score(truth, probabilities.argmax(axis=1), run.labels)
    manifest = replace(
        manifest,
        metrics={
            "test": scores.summary(),
            "quantization": chosen.quantization,
            "latency_ms": chosen.latency_ms,
            "candidates": [asdict(candidate) for candidate in conversion.models],
        },
        training=run.config.to_document(),
        dataset={
            "fingerprint": run.record.fingerprint,
            "images": sum(run.record.images.values()),
            "splits": run.record.images,
            "unreadable": len(run.record.unreadable),
        },
        libraries={**run.record.libraries, **library_versions()},
    )
    companions = golden_files(model, _choose_golden(test, truth, probabilities))
    companions[REPORT_NAME] = render_report(manifest, scores).encode()
    return write_bundle(out, manifest, content, companions)


def _choose_golden(
    test: TensorSet, truth: NDArray[np.int64], probabilities: NDArray[np.float32]
) -> Sequence[GoldenFile]:
    """One photo a class, of up to eight classes spread over all: right, sure, and the smallest file of those."""
    chosen: list[GoldenFile] = []
    right = probabilities.argmax(axis=1) == truth
    confidence = probabilities.max(axis=1)
    for label in np.unique(truth[right]):
        rows = np.flatnonzero(right & (truth == label))
        sure = rows[confidence[rows] >= _SURE]
        # Where none is sure, the surest.
        candidates = sure if len(sure) else rows[[int(confidence[rows].argmax())]]
        photo = min((test.photos[row] for row in candidates), key=lambda photo: (photo.path.stat().st_size, photo.name))
        chosen.append(GoldenFile(photo.name, photo.path.read_bytes()))
    if not chosen:
        raise UserError("the model classifies no test photo rightly, so no golden photo can be chosen; train it better")
    spread = np.unique(np.linspace(0, len(chosen) - 1, min(_GOLDEN_PHOTOS, len(chosen))).astype(int))
    return [chosen[position] for position in spread]
