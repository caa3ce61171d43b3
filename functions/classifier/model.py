"""A TensorFlow Lite classifier: uint8 RGB tensor in, calibrated probabilities out. The one import of an interpreter."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from classifier.bundle import (
    MULTI_LABEL,
    NOVELTY_NAME,
    SIGMOID,
    EmbeddingSpec,
    InputSpec,
    Manifest,
    OutputSpec,
    Quantization,
)
from classifier.errors import ModelIncompatibleError
from classifier.golden import GoldenSet, check_golden
from classifier.novelty import KnownPhotos

try:
    from ai_edge_litert.interpreter import Interpreter

    _LIBRARY = "ai-edge-litert"
except ImportError:
    from tflite_runtime.interpreter import Interpreter

    _LIBRARY = "tflite-runtime"

_INTEGER_RANGE = {"uint8": (0, 255), "int8": (-128, 127)}
_CHANNELS = 3


@dataclass(frozen=True)
class InterpreterFacts:
    """Which interpreter serves: its distribution's name and version."""

    library: str
    version: str


@dataclass(frozen=True)
class ModelFacts:
    """What a ``.tflite`` file says of itself. Input shape is (1, height, width, 3), output shape (1, outputs).

    Attributes:
        embedding: of a model with another output beside that.
    """

    height: int
    width: int
    input_dtype: str
    input_quantization: Quantization | None
    outputs: int
    output_dtype: str
    output_quantization: Quantization | None
    embedding: EmbeddingSpec | None = None


@dataclass(frozen=True)
class Answer:
    """What a model says of an image.

    Attributes:
        probabilities: calibrated; float32, (labels,), each in [0, 1], or NaN where the model's output is not finite.
        novelty: 0 to 1; see :meth:`classifier.novelty.KnownPhotos.novelty`. None of a model without.
        embedding: float32, (features,); None of a model without.
    """

    probabilities: NDArray[np.float32]
    novelty: float | None = None
    embedding: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Prediction:
    """A label and its calibrated probability in [0, 1]."""

    label: str
    confidence: float


@dataclass(frozen=True)
class Classified:
    """An image and what the model says of it.

    Attributes:
        format: the file's format by Pillow's name, such as ``JPEG``.
        width, height: pixels of the original as a viewer shows it, after EXIF orientation.
        top: the k best labels, best first.
        timing_ms: wall-clock milliseconds of the stages ``decode`` and ``predict``.
        labels: of a multi-label model, those that apply, best first; None of any other.
        novelty: 0 to 1; None of a model without.
    """

    format: str
    width: int
    height: int
    top: tuple[Prediction, ...]
    timing_ms: Mapping[str, float]
    labels: tuple[str, ...] | None = None
    novelty: float | None = None


def interpreter_facts() -> InterpreterFacts:
    return InterpreterFacts(_LIBRARY, importlib.metadata.version(_LIBRARY))


def inspect(content: bytes, labels: int | None = None) -> ModelFacts:
    """Read input and outputs of a ``.tflite`` classifier.

    Args:
        labels: how many it has. Of two outputs the first with as many values is that of the labels, else the first.

    Raises:
        ModelIncompatibleError: the interpreter refuses the file, or it is not an image classifier.
    """
    return _facts(_interpreter(content), labels)


class Model:
    """A loaded and verified classifier, for one thread at a time.

    Its interpreter uses one thread itself: two of its threads on a busy machine cost up to 60 times the latency of one
    (measured), and batches gain nothing over single images.
    """

    def __init__(self, manifest: Manifest, interpreter: Any, known: KnownPhotos | None = None) -> None:
        self.manifest = manifest
        self._interpreter = interpreter
        self._known = known
        self._input = interpreter.get_input_details()[0]["index"]
        output, embedding = _outputs(interpreter, manifest.outputs)
        self._output = output["index"]
        self._embedding = None if embedding is None else embedding["index"]
        self._input_table = input_table(manifest)
        # One column for all channels, the usual case, is looked up in a fifth of the time that three are.
        uniform = bool((self._input_table == self._input_table[:, :1]).all())
        self._shared_column = np.ascontiguousarray(self._input_table[:, 0]) if uniform else None

    @classmethod
    def load(cls, content: bytes | Path, manifest: Manifest, novelty: bytes = b"") -> Self:
        """Load a model and run it once.

        Args:
            content: the verified ``model.tflite``, or where it lies.
            manifest: the bundle's manifest, which the files must agree with.
            novelty: the verified ``novelty.npy`` of a bundle with one.

        Raises:
            ModelIncompatibleError: the interpreter refuses the file, the file and the manifest disagree, or what comes
                out for a black picture is no probability.
        """
        interpreter = _interpreter(content, (manifest.input.height, manifest.input.width))
        facts = _facts(interpreter, manifest.outputs)
        _check_agreement(facts, manifest)
        known = None if manifest.novelty is None else KnownPhotos.from_bytes(novelty)
        if known is not None and (facts.embedding is None or facts.embedding.features != known.features):
            raise ModelIncompatibleError(
                f"the embeddings in {NOVELTY_NAME} have {known.features} features, unlike the model's"
            )
        model = cls(manifest, interpreter, known)
        blank = np.zeros((manifest.input.height, manifest.input.width, _CHANNELS), np.uint8)
        if not np.isfinite(model.predict(blank)).all():
            raise ModelIncompatibleError("the model returns NaN for a black picture: train or convert it again")
        return model

    def predict(self, tensor: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The probabilities of :meth:`answer`."""
        return self.answer(tensor).probabilities

    def answer(self, tensor: NDArray[np.uint8]) -> Answer:
        """Run the model on one image.

        Args:
            tensor: uint8, (height, width, 3), RGB, as :meth:`Manifest.decode` makes it.

        Raises:
            ModelIncompatibleError: the interpreter fails on this model.
        """
        predicted, spec = probabilities(self.run(tensor), self.manifest.output), self.manifest.embedding
        if spec is None:
            return Answer(predicted)
        embedding = dequantized(self._interpreter.get_tensor(self._embedding)[0], spec).astype(np.float32)
        return Answer(predicted, None if self._known is None else self._known.novelty(embedding), embedding)

    def run(self, tensor: NDArray[np.uint8]) -> NDArray[Any]:
        """The output as it is stored, (outputs,), in its own dtype; argument and errors as of :meth:`predict`."""
        values = self._stored(tensor)[np.newaxis]
        interpreter = self._interpreter
        try:
            interpreter.set_tensor(self._input, values)
            interpreter.invoke()
            stored: NDArray[Any] = interpreter.get_tensor(self._output)[0]
        except (RuntimeError, ValueError) as error:
            raise ModelIncompatibleError(f"{_LIBRARY} fails to run the model: {error}") from error
        return stored

    def _stored(self, tensor: NDArray[np.uint8]) -> NDArray[Any]:
        if self._shared_column is not None:
            return np.take(self._shared_column, tensor)
        stored: NDArray[Any] = self._input_table[tensor, np.arange(_CHANNELS)]
        return stored

    def check_golden(self, golden: GoldenSet, read: Callable[[str], bytes]) -> None:
        """:func:`check_golden` in this process."""

        def answer(photo: bytes) -> Answer:
            return self.answer(self.manifest.decode(photo).tensor)

        check_golden(golden, len(self.manifest.labels), read, answer)


def above_thresholds(probabilities: NDArray[np.float32], output: OutputSpec) -> list[int] | None:
    """Of a multi-label model, the positions of the labels that apply, best first; None of any other."""
    if output.thresholds is None:
        return None
    applies = probabilities >= np.asarray(output.thresholds, np.float32)
    order = np.argsort(-probabilities, kind="stable")
    return [int(index) for index in order[applies[order]]]


def top_k(probabilities: NDArray[np.float32], labels: tuple[str, ...], k: int) -> list[Prediction]:
    """The ``k`` best labels, best first; equal confidences in label order."""
    order = np.argsort(-probabilities, kind="stable")[:k]
    return [Prediction(labels[index], float(probabilities[index])) for index in order]


def input_table(manifest: Manifest) -> NDArray[Any]:
    """What each pixel value becomes, (256, 3), in the input's dtype.

    Scaling takes a pixel to the real value the graph was trained on (without scaling the pixel itself, 0 to 255);
    quantization stores it: ``round(real / scale) + zero_point``, clipped to the dtype's range.
    """
    real = np.repeat(np.arange(256, dtype=np.float64)[:, np.newaxis], _CHANNELS, axis=1)
    if manifest.scaling is not None:
        real = (real - manifest.scaling.mean) / manifest.scaling.std
    spec: InputSpec = manifest.input
    if spec.dtype not in _INTEGER_RANGE:
        return real.astype(np.float32)
    if spec.quantization is not None:
        real = real / spec.quantization.scale + spec.quantization.zero_point
    return np.clip(np.rint(real), *_INTEGER_RANGE[spec.dtype]).astype(spec.dtype)


def probabilities(stored: NDArray[Any], output: OutputSpec) -> NDArray[np.float32]:
    """Dequantized and calibrated output.

    Args:
        stored: (outputs,), in the output's dtype.
        output: kind, quantization and temperature.

    Returns:
        float32, (labels,), in [0, 1]; they sum to 1 unless the kind is ``multi_label``. Temperature scaling follows Guo
        et al., "On Calibration of Modern Neural Networks" (2017); a softmax output is brought back to logits by the
        logarithm, which softmax undoes. A sigmoid is the softmax of two labels.
    """
    values = dequantized(stored, output)
    if output.kind == SIGMOID:
        second = np.clip(values[0], 0.0, 1.0)
        values = np.array([1.0 - second, second])
    if output.kind != "logits" and output.temperature == 1.0:
        return np.clip(values, 0.0, 1.0).astype(np.float32)
    logits = values if output.kind == "logits" else np.log(np.clip(values, 1e-12, 1.0))
    if output.kind == MULTI_LABEL:
        odds = logits - np.log(np.clip(1.0 - values, 1e-12, 1.0))
        return (1.0 / (1.0 + np.exp(-odds / output.temperature))).astype(np.float32)
    scaled = logits / output.temperature
    with np.errstate(invalid="ignore"):  # infinite logits become NaN, which the callers look for
        powers = np.exp(scaled - scaled.max())
        calibrated: NDArray[np.float32] = (powers / powers.sum()).astype(np.float32)
    return calibrated


def dequantized(stored: NDArray[Any], output: OutputSpec | EmbeddingSpec) -> NDArray[np.float64]:
    """The real values of a stored output, of its shape."""
    values: NDArray[np.float64] = stored.astype(np.float64)
    if output.quantization is not None:
        values = (values - output.quantization.zero_point) * output.quantization.scale
    return values


def _interpreter(content: bytes | Path, size: tuple[int, int] | None = None) -> Any:
    source: dict[str, Any] = {"model_path": str(content)} if isinstance(content, Path) else {"model_content": content}
    try:
        interpreter = Interpreter(num_threads=1, **source)
        inputs = interpreter.get_input_details()
        if size is not None and len(inputs) == 1 and -1 in inputs[0]["shape_signature"]:
            interpreter.resize_tensor_input(inputs[0]["index"], (1, *size, _CHANNELS), strict=True)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError, TypeError) as error:
        facts = interpreter_facts()
        reason = " ".join(str(error).split())
        raise ModelIncompatibleError(f"{facts.library} {facts.version} cannot load the model: {reason}") from error
    return interpreter


def _outputs(interpreter: Any, labels: int | None) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The output of the labels and, if there are two, the other one. A file has its outputs in one order for good."""
    outputs = interpreter.get_output_details()
    if len(outputs) == 1:
        return outputs[0], None
    first, second = outputs
    swapped = labels not in (None, first["shape"][-1]) and labels == second["shape"][-1]
    return (second, first) if swapped else (first, second)


def _facts(interpreter: Any, labels: int | None) -> ModelFacts:
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if len(inputs) != 1 or len(outputs) not in (1, 2):
        raise ModelIncompatibleError(
            f"the model has {len(inputs)} inputs and {len(outputs)} outputs; an image classifier has one input and one"
            " output, and at most an embedding besides"
        )
    shape = tuple(int(n) for n in inputs[0]["shape"])
    if len(shape) != 4 or shape[0] != 1 or shape[3] != _CHANNELS:
        raise ModelIncompatibleError(f"the model's input has shape {shape}, not (1, height, width, {_CHANNELS})")
    output, embedding = _outputs(interpreter, labels)
    for what, one in (("labels", output), ("features", embedding)):
        output_shape = () if one is None else tuple(int(n) for n in one["shape"])
        if one is not None and (len(output_shape) != 2 or output_shape[0] != 1):
            raise ModelIncompatibleError(f"the model's output has shape {output_shape}, not (1, {what})")
    return ModelFacts(
        height=shape[1],
        width=shape[2],
        input_dtype=np.dtype(inputs[0]["dtype"]).name,
        input_quantization=_quantization(inputs[0]),
        outputs=int(output["shape"][1]),
        output_dtype=np.dtype(output["dtype"]).name,
        output_quantization=_quantization(output),
        embedding=None
        if embedding is None
        else EmbeddingSpec(
            embedding["name"],
            int(embedding["shape"][1]),
            np.dtype(embedding["dtype"]).name,
            _quantization(embedding),
        ),
    )


def _quantization(details: dict[str, Any]) -> Quantization | None:
    scale, zero_point = details["quantization"]
    return Quantization(float(scale), int(zero_point)) if scale else None


def _check_agreement(facts: ModelFacts, manifest: Manifest) -> None:
    compared = [
        ("input height", facts.height, manifest.input.height),
        ("input width", facts.width, manifest.input.width),
        ("input dtype", facts.input_dtype, manifest.input.dtype),
        ("input quantization", facts.input_quantization, manifest.input.quantization),
        ("number of outputs", facts.outputs, manifest.outputs),
        ("output dtype", facts.output_dtype, manifest.output.dtype),
        ("output quantization", facts.output_quantization, manifest.output.quantization),
        ("embedding", facts.embedding, manifest.embedding),
    ]
    for what, actual, stated in compared:
        if not _same(actual, stated):
            raise ModelIncompatibleError(f"the model's {what} is {actual}, its manifest says {stated}")


def _same(actual: Any, stated: Any) -> bool:
    if isinstance(actual, EmbeddingSpec) and isinstance(stated, EmbeddingSpec):
        return (
            _same(actual.quantization, stated.quantization)
            and replace(actual, quantization=stated.quantization) == stated
        )
    if isinstance(actual, Quantization) and isinstance(stated, Quantization):
        # The manifest holds the decimal text of what the file holds as float32.
        return actual.zero_point == stated.zero_point and math.isclose(actual.scale, stated.scale, rel_tol=1e-6)
    return bool(actual == stated)
