"""What a ``.tflite`` file tells about its input values, without running it.

Read with the flatbuffer schema that LiteRT ships; where that is missing (tflite-runtime) nothing is known.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from classifier.bundle import Scaling

IDENTIFIER = b"TFL3"
"""At bytes 4 to 8 of every TensorFlow Lite file."""
_METADATA_NAME = b"TFLITE_METADATA"
_NORMALIZATION_OPTIONS = 1  # ProcessUnitOptions union, metadata_schema.fbs
_STORING = ("QUANTIZE", "DEQUANTIZE", "RESHAPE", "SQUEEZE", "CAST")
_PIXEL_SIZED = 16.0  # a constant this large beside an input means that the input counts 0..255


def is_tflite(content: bytes) -> bool:
    return content[4:8] == IDENTIFIER


def metadata_scaling(content: bytes) -> Scaling | None:
    """The input's ``NormalizationOptions`` of the file's TFLite metadata, if it has any.

    Source: metadata_schema.fbs of tensorflow/tflite-support; field numbers are its order.
    """
    try:
        return _normalization(content)
    # Metadata is an attachment that no interpreter reads: whatever is wrong with it, it then says nothing.
    except (ImportError, struct.error, IndexError, TypeError, ValueError, AttributeError):
        return None


def scales_itself(content: bytes) -> bool:
    """Whether the graph's first step turns 0..255 into small numbers, as a Keras ``Rescaling`` layer does."""
    try:
        return _first_step_scales(content)
    except (ImportError, struct.error, IndexError, TypeError, ValueError, AttributeError):
        return False


def last_operation(content: bytes) -> str | None:
    """Name of the operation that makes the model's output, such as ``SOFTMAX`` or ``LOGISTIC``; what only changes how
    numbers are stored is looked through. None where it cannot be known."""
    try:
        return _last_operation(content)
    except (ImportError, struct.error, IndexError, TypeError, ValueError, AttributeError):
        return None


def _last_operation(content: bytes) -> str | None:
    operators, model = schema().BuiltinOperator, _model(content)
    names = {number: name for name, number in vars(operators).items() if isinstance(number, int)}
    graph = model.Subgraphs(0)
    wanted = graph.Outputs(0)
    for position in reversed(range(graph.OperatorsLength())):
        operator = graph.Operators(position)
        if wanted not in list(operator.OutputsAsNumpy()):
            continue
        code = model.OperatorCodes(operator.OpcodeIndex())
        name = names.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()))
        if name not in _STORING:
            return name
        wanted = operator.Inputs(0)
    return None


def schema() -> Any:
    """The flatbuffer schema. Raises ImportError in a Python with tflite-runtime alone."""
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def _model(content: bytes) -> Any:
    return schema().Model.GetRootAs(content, 0)


def _normalization(content: bytes) -> Scaling | None:
    import flatbuffers  # type: ignore[import-untyped]
    from flatbuffers.number_types import Float32Flags, Uint8Flags  # type: ignore[import-untyped]

    model = _model(content)
    entries = [model.Metadata(index) for index in range(model.MetadataLength())]
    buffers = [model.Buffers(entry.Buffer()).DataAsNumpy() for entry in entries if entry.Name() == _METADATA_NAME]
    if not buffers:
        return None
    data = buffers[0].tobytes()

    def field(table: Any, number: int) -> int:
        return int(table.Offset(4 + 2 * number))

    def follow(table: Any, number: int, item: int = 0) -> Any:
        """The ``item``-th table of vector field ``number``; None where there is no such field."""
        offset = field(table, number)
        if not offset or item >= table.VectorLen(offset):
            return None
        return flatbuffers.table.Table(data, table.Indirect(table.Vector(offset) + 4 * item))

    def floats(table: Any, number: int) -> list[float]:
        offset = field(table, number)
        size = table.VectorLen(offset) if offset else 0
        return [float(table.Get(Float32Flags, table.Vector(offset) + 4 * index)) for index in range(size)]

    root = flatbuffers.table.Table(data, struct.unpack_from("<I", data)[0])
    subgraph = follow(root, 3)
    tensor = follow(subgraph, 2) if subgraph else None
    unit, item = (follow(tensor, 4) if tensor else None), 0
    while unit is not None:
        kind = field(unit, 0)
        if kind and unit.Get(Uint8Flags, kind + unit.Pos) == _NORMALIZATION_OPTIONS:
            options = flatbuffers.table.Table(data, unit.Indirect(field(unit, 1) + unit.Pos))
            mean, std = floats(options, 0), floats(options, 1)
            if len(mean) in (1, 3) and len(std) in (1, 3) and all(std):
                return Scaling(_per_channel(mean), _per_channel(std))
        item += 1
        unit = follow(tensor, 4, item)
    return None


def _per_channel(values: list[float]) -> tuple[float, float, float]:
    red, green, blue = values * (3 // len(values))
    return red, green, blue


def _first_step_scales(content: bytes) -> bool:
    operators, model = schema().BuiltinOperator, _model(content)
    graph = model.Subgraphs(0)
    image = graph.Inputs(0)
    for position in range(graph.OperatorsLength()):
        operator = graph.Operators(position)
        inputs = list(operator.InputsAsNumpy())
        if image not in inputs:
            continue
        code = model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()
        constants = [
            np.frombuffer(model.Buffers(graph.Tensors(i).Buffer()).DataAsNumpy().tobytes(), np.float32)
            for i in inputs
            if i != image and model.Buffers(graph.Tensors(i).Buffer()).DataLength()
        ]
        if not constants:
            return False
        largest = float(np.abs(constants[0]).max())
        if code == operators.MUL:
            return largest <= 1 / _PIXEL_SIZED
        return code in (operators.DIV, operators.SUB, operators.ADD) and largest >= _PIXEL_SIZED
    return False
