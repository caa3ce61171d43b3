"""``bucketlens model import``: any TensorFlow Lite classifier and its labels become a bundle. Needs no TensorFlow."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifier.bundle import MAX_LABEL_BYTES, REPORT_NAME, Manifest, Scaling
from classifier.errors import ImageRejected, ModelIncompatibleError, UserError
from classifier.imaging import DRAFT_MARGIN, ResizePolicy
from classifier.model import Model, ModelFacts
from model_build.bundles.bundling import GoldenFile, check_name, golden_files, write_bundle
from model_build.choices import OutputChoice, ScalingChoice
from model_build.files import read_bytes, require_free
from model_build.report.model_report import render_report
from model_build.tflite.inspecting import is_tflite, metadata_scaling, scales_itself
from model_build.tflite.running import describe, inspect_quietly, load_quietly, stored_scaling

_MOST_GOLDEN = 8
_NOISE_IMAGES = 4
_ROUNDING = 1e-5
_SUM_TOLERANCE = 0.02
_NUMBERED = re.compile(r"(\d+)[\s:,]+(\S.*)")


_SCALINGS = {
    ScalingChoice.NONE: None,
    ScalingChoice.ZERO_ONE: Scaling((0.0,) * 3, (255.0,) * 3),
    ScalingChoice.MINUS_ONE_ONE: Scaling((127.5,) * 3, (127.5,) * 3),
}


@dataclass(frozen=True)
class ImportRequest:
    """What the user gave.

    Attributes:
        tflite, labels: the model, and its labels one a line in output order, UTF-8.
        name: of the model; the file's own by default.
        golden: folder with a few photos for the bundle's self-test.
    """

    tflite: Path
    labels: Path
    name: str | None = None
    golden: Path | None = None
    resize: ResizePolicy = ResizePolicy.STRETCH
    scaling: ScalingChoice = ScalingChoice.AUTO
    output: OutputChoice = OutputChoice.AUTO
    review_threshold: float = 0.5


def import_model(
    request: ImportRequest,
    out: Path,
    *,
    say: Callable[[str], None] = lambda *_: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Manifest:
    """Write the bundle folder ``out``, proven. ``say`` is told every assumption made on the way.

    Raises:
        UserError: a file is missing or not what it should be, labels and outputs do not match, or ``out`` is taken.
        ModelIncompatibleError: the interpreter refuses the model, or it is no image classifier.
    """
    require_free(out)
    content = read_bytes(request.tflite, "the model")
    if not is_tflite(content):
        raise UserError(f"{request.tflite} is not a TensorFlow Lite model (no TFL3 mark in it)")
    labels = read_labels(request.labels, say)
    try:
        facts = inspect_quietly(content)
    except ModelIncompatibleError as error:
        raise ModelIncompatibleError(f"{request.tflite} cannot be imported: {error}") from None
    if facts.height < 2 or facts.width < 2:
        raise UserError(f"{request.tflite} has no fixed input size; convert it again with a fixed height and width")
    check_labels(labels, facts.outputs, request)
    manifest = describe(
        content,
        facts,
        name=check_name(request.name if request.name is not None else request.tflite.stem),
        labels=labels,
        resize=request.resize,
        draft_margin=DRAFT_MARGIN,
        output_kind="softmax",
        created=now(),
        scaling=choose_scaling(content, facts, request.scaling, say),
        review_threshold=request.review_threshold,
    )
    as_softmax = load_quietly(content, manifest)
    as_logits = load_quietly(content, replace(manifest, output=replace(manifest.output, kind="logits")))
    photos = _golden_photos(request.golden, manifest, say)
    kind = request.output
    if kind is OutputChoice.AUTO:
        kind = detect_output(as_softmax, as_logits, [tensor for _, tensor in photos], request.tflite)
        say(f"output: {kind.value}, judging by the model's outputs for test images")
    model = as_logits if kind is OutputChoice.LOGITS else as_softmax
    manifest = model.manifest
    companions = golden_files(model, [photo for photo, _ in photos])
    companions[REPORT_NAME] = render_report(manifest, golden=companions).encode()
    return write_bundle(out, manifest, content, companions)


def read_labels(path: Path, say: Callable[[str], None] = lambda *_: None) -> tuple[str, ...]:
    """Labels of a text file, one a line, commas and all; empty lines at its end do not count.

    Lines that each begin with their own index ("0 cat", "1 dog": Teachable Machine writes them so) lose it.

    Raises:
        UserError: no such file, not UTF-8, nothing in it, or an empty line between labels.
    """
    try:
        text = read_bytes(path, "the labels file").decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"the labels file {path} is not UTF-8 text") from None
    lines = [line.strip() for line in text.rstrip().split("\n")]
    if not any(lines):
        raise UserError(f"the labels file {path} is empty")
    if "" in lines:
        raise UserError(f"the labels file {path} has an empty line {lines.index('') + 1}; write one label per line")
    matches = [_NUMBERED.fullmatch(line) for line in lines]
    numbered = [match[2] for index, match in enumerate(matches) if match and int(match[1]) == index]
    if len(numbered) == len(lines):
        say(f"{path}: the lines are numbered; remove the numbers, which are not part of the labels")
        return tuple(numbered)
    return tuple(lines)


def check_labels(labels: tuple[str, ...], outputs: int, request: ImportRequest) -> None:
    """Raises UserError unless there is a label for every output, and each fits the table's index by label."""
    long = next((label for label in labels if len(label.encode()) > MAX_LABEL_BYTES), None)
    if long is not None:
        raise UserError(
            f"{request.labels} has a label of {len(long.encode()):,} bytes, {long[:40]!r}...; the most is"
            f" {MAX_LABEL_BYTES:,}, the size of a DynamoDB index key"
        )
    if len(labels) == outputs:
        return
    hint = ""
    if outputs == len(labels) + 1:
        hint = '; the first output of such models is often "background": add that as the first line of the labels file'
    raise UserError(f"{request.labels} has {len(labels)} labels, {request.tflite} has {outputs} outputs{hint}")


def choose_scaling(
    content: bytes, facts: ModelFacts, choice: ScalingChoice, say: Callable[[str], None] = lambda *_: None
) -> Scaling | None:
    """How a pixel becomes the real value the graph expects; None: it is that value itself.

    Integer inputs say it by scale and zero point (:func:`model_build.tflite.running.stored_scaling`). Float inputs say
    it in the file's metadata, or by a first step that divides, or not at all: then [-1, 1] is assumed, as MobileNet and
    Inception have it.
    """
    if choice is not ScalingChoice.AUTO:
        return _SCALINGS[choice]
    if facts.input_dtype != "float32":
        return stored_scaling(facts)
    described = metadata_scaling(content)
    if described is not None:
        say(f"value scaling from the file's metadata: mean {list(described.mean)}, std {list(described.std)}")
        return described
    if scales_itself(content):
        say("value scaling: none, the graph scales 0..255 itself")
        return None
    say("value scaling: the file does not say; [-1, 1] is assumed (else give --scaling zero-one or none)")
    return _SCALINGS[ScalingChoice.MINUS_ONE_ONE]


def detect_output(as_softmax: Model, as_logits: Model, photos: list[NDArray[np.uint8]], source: Path) -> OutputChoice:
    """Run the model on photos and noise: probabilities lie in [0, 1] and sum to 1, logits do not.

    Args:
        as_softmax, as_logits: the same model, its output read in both ways. The first gives the values clipped to
            [0, 1]; softmax of those is what the second gives exactly when there was nothing to clip.
        source: the model's file, for messages.

    Raises:
        UserError: the values are in [0, 1] and sum to something else, as independent (sigmoid) scores do.
    """
    spec, out = as_softmax.manifest.input, as_softmax.manifest.output
    noise = np.random.default_rng(0).integers(0, 256, (_NOISE_IMAGES, spec.height, spec.width, 3), dtype=np.uint8)
    images = [*photos, *noise]
    values = np.stack([as_softmax.predict(image) for image in images]).astype(np.float64)
    answers = np.stack([as_logits.predict(image) for image in images])
    powers = np.exp(values)
    if np.abs(powers / powers.sum(axis=1, keepdims=True) - answers).max() > _ROUNDING:
        return OutputChoice.LOGITS
    # A quantized softmax rounds each value by up to half a step: 1,001 unlikely labels may all become 0. It rounds
    # both ways, so that the sum never comes far above 1.
    rounded = 0.0 if out.quantization is None else values.shape[1] * out.quantization.scale / 2
    sums = values.sum(axis=1)
    if sums.min() >= 1 - max(_SUM_TOLERANCE, rounded) and sums.max() <= 1 + max(_SUM_TOLERANCE, min(rounded, 0.25)):
        return OutputChoice.SOFTMAX
    raise UserError(
        f"the outputs of {source} lie in [0, 1] but sum to {float(sums.min()):.2f} up to {float(sums.max()):.2f}, so "
        "they are not a softmax; set --output softmax or --output logits"
    )


def _golden_photos(
    folder: Path | None, manifest: Manifest, say: Callable[[str], None]
) -> list[tuple[GoldenFile, NDArray[np.uint8]]]:
    if folder is None:
        say("no golden photos: the bundle cannot be tested where it is served; give a few with --golden FOLDER")
        return []
    if not folder.is_dir():
        raise UserError(f"the folder of golden photos {folder} does not exist")
    found: list[tuple[GoldenFile, NDArray[np.uint8]]] = []
    photos = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    if not photos:
        raise UserError(f"the folder of golden photos {folder} holds no files; those in folders below it are not read")
    for path in photos:
        if len(found) == _MOST_GOLDEN:
            break
        data = path.read_bytes()
        try:
            image = manifest.decode(data)
        except ImageRejected as error:
            say(f"{path.name} is left out of the golden photos: {error}")
            continue
        found.append((GoldenFile(path.name, data), image.tensor))
    if not found:
        raise UserError(f"the folder of golden photos {folder} has no readable photo")
    return found
