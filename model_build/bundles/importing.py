"""``bucketlens model import``: any TensorFlow Lite classifier and its labels become a bundle. Needs no TensorFlow."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifier.bundle import MAX_LABEL_BYTES, REPORT_NAME, SIGMOID, Manifest, Scaling
from classifier.errors import ImageRejected, ModelIncompatibleError, UserError
from classifier.imaging import DRAFT_MARGIN, ResizePolicy
from classifier.model import Model, ModelFacts, dequantized
from model_build.bundles.bundling import GoldenFile, check_name, golden_files, write_bundle
from model_build.bundles.output_kind import choose_output
from model_build.choices import OutputChoice, ScalingChoice
from model_build.data.dataset import duplicate_label, label_key
from model_build.files import read_bytes, require_free
from model_build.report.model_report import render_report
from model_build.tflite.inspecting import is_tflite, metadata_scaling, scales_itself
from model_build.tflite.running import describe, inspect_quietly, load_quietly, stored_scaling

_MOST_GOLDEN = 8
_NOISE_IMAGES = 4
_IMAGENET = (1000, 1001)
_HOMONYMS = ("crane", "maillot")
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
        label_threshold: of a multi-label model, the probability from which on a label applies.
    """

    tflite: Path
    labels: Path
    name: str | None = None
    golden: Path | None = None
    resize: ResizePolicy = ResizePolicy.STRETCH
    scaling: ScalingChoice = ScalingChoice.AUTO
    output: OutputChoice = OutputChoice.AUTO
    review_threshold: float = 0.5
    label_threshold: float = 0.5


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
        facts = inspect_quietly(content, len(labels))
    except ModelIncompatibleError as error:
        raise ModelIncompatibleError(f"{request.tflite} cannot be imported: {error}") from None
    if facts.height < 2 or facts.width < 2:
        raise UserError(f"{request.tflite} has no fixed input size; convert it again with a fixed height and width")
    labels = check_labels(labels, facts.outputs, request, say)
    if facts.embedding is not None:
        say(f"the other output, {facts.embedding.name} of {facts.embedding.features} values, is not used")
    manifest = describe(
        content,
        facts,
        name=check_name(request.name if request.name is not None else request.tflite.stem),
        labels=labels,
        resize=request.resize,
        draft_margin=DRAFT_MARGIN,
        output_kind="softmax" if facts.outputs == len(labels) else SIGMOID,
        created=now(),
        scaling=choose_scaling(content, facts, request.scaling, say),
        review_threshold=request.review_threshold,
    )
    photos = _golden_photos(request.golden, manifest, say)
    model = load_quietly(content, manifest)
    values = _outputs(model, [tensor for _, tensor in photos])
    kind = choose_output(content, values, manifest.output.quantization, request.output, request.tflite, say)
    if kind is OutputChoice.MULTI_LABEL:
        say(f"labels apply from a probability of {request.label_threshold:g} on; --label-threshold sets another")
    elif kind is OutputChoice.SIGMOID:
        say(f"the output is taken for the probability of the second label, {labels[1]!r}: swap the two if it is not")
    thresholds = (request.label_threshold,) * len(labels) if kind is OutputChoice.MULTI_LABEL else None
    output = replace(manifest.output, kind=kind.value.replace("-", "_"), thresholds=thresholds)
    model = load_quietly(content, replace(manifest, output=output))
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


def check_labels(
    labels: tuple[str, ...], outputs: int, request: ImportRequest, say: Callable[[str], None] = lambda *_: None
) -> tuple[str, ...]:
    """The labels, of which ImageNet's second crane has been named apart.

    Raises:
        UserError: there is not a label for every output (two for one output, unless it is multi-label), one is too long
            for the table's index by label, or there are two of a kind.
    """
    long = next((label for label in labels if len(label.encode()) > MAX_LABEL_BYTES), None)
    if long is not None:
        raise UserError(
            f"{request.labels} has a label of {len(long.encode()):,} bytes, {long[:40]!r}...; the most is"
            f" {MAX_LABEL_BYTES:,}, the size of a DynamoDB index key"
        )
    wanted = 2 if outputs == 1 and request.output is not OutputChoice.MULTI_LABEL else outputs
    if len(labels) != wanted:
        hint = ""
        if outputs == 1:
            hint = "; one output tells two labels apart: the first line is the label at 0, the second the label at 1"
        elif outputs == len(labels) + 1:
            hint = (
                '; the first output of such models is often "background": add that as the first line of the labels file'
            )
        raise UserError(f"{request.labels} has {len(labels)} labels, {request.tflite} has {outputs} outputs{hint}")
    if len(labels) in _IMAGENET:
        labels = tuple(_named_apart(labels, say))
    twice = duplicate_label(labels)
    if twice is not None:
        lines = [line for line, label in enumerate(labels, start=1) if label_key(label) == label_key(twice)]
        raise UserError(
            f"{request.labels} has the label {twice!r} on lines {' and '.join(map(str, lines))}; results could not be"
            " told apart: give each label a name of its own"
        )
    return labels


def _named_apart(labels: Sequence[str], say: Callable[[str], None]) -> Iterator[str]:
    """ImageNet's list names a bird and a machine "crane", and two bathing suits "maillot"."""
    seen: set[str] = set()
    for label in labels:
        if label in _HOMONYMS and label in seen:
            say(f"the second {label!r} of ImageNet's labels is called '{label} (2)'")
            yield f"{label} (2)"
        else:
            yield label
        seen.add(label)


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


def _outputs(model: Model, photos: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """What the model gives for the photos and for noise, dequantized; (images, outputs)."""
    spec = model.manifest.input
    noise = np.random.default_rng(0).integers(0, 256, (_NOISE_IMAGES, spec.height, spec.width, 3), dtype=np.uint8)
    return np.stack([dequantized(model.run(image), model.manifest.output) for image in [*photos, *noise]])


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
