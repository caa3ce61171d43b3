"""Whether a model runs in an interpreter that is not at hand, told from its file: operations and their versions.

A ``.tflite`` file names the version of each operation it uses; an interpreter refuses what it does not know. LiteRT
makes and proves the models here; ``tflite-runtime`` has no release for this Python, and will have none: 2.14.0 is its
last, so what it knows can be written down.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from classifier.errors import UserError
from model_build.choices import Runtime
from model_build.tflite.inspecting import schema

TFLITE_RUNTIME_VERSION = "2.14.0"
LAST_OPERATION = 161
"""RIGHT_SHIFT: later operations of the schema's ``BuiltinOperator`` are unknown to tflite-runtime 2.14.0."""
_ABSENT = {"CONCAT_EMBEDDINGS", "CALL", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES"}
_NEWEST_BY_VERSION = {
    2: "DEPTH_TO_SPACE DIV EXP FAKE_QUANT FLOOR_MOD GELU GREATER L2_NORMALIZATION LEAKY_RELU LESS_EQUAL LOG_SOFTMAX"
    " RANGE REDUCE_PROD RSQRT SELECT_V2 SIGN SPACE_TO_DEPTH SPLIT_V SQUARED_DIFFERENCE SQUEEZE SUM WHERE",
    3: "ARG_MAX ARG_MIN AVERAGE_POOL_2D BIDIRECTIONAL_SEQUENCE_LSTM BIDIRECTIONAL_SEQUENCE_RNN BROADCAST_TO"
    " EMBEDDING_LOOKUP FLOOR_DIV GREATER_EQUAL LESS LOGISTIC MAX_POOL_2D MEAN MIRROR_PAD NOT_EQUAL QUANTIZE REDUCE_MAX"
    " REDUCE_MIN RELU RELU6 REVERSE_V2 RNN SOFTMAX SPARSE_TO_DENSE TANH TILE TOPK_V2 UNIDIRECTIONAL_SEQUENCE_RNN",
    4: "BATCH_MATMUL BATCH_TO_SPACE_ND CONCATENATION EQUAL FILL GATHER_ND LSTM MAXIMUM MINIMUM PACK PAD PADV2"
    " RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR SELECT SPACE_TO_BATCH_ND SPLIT SVDF TRANSPOSE_CONV"
    " UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK",
    5: "ABS ADD CAST DEQUANTIZE SUB",
    6: "GATHER SLICE TRANSPOSE",
    7: "CONV_2D DEPTHWISE_CONV_2D MUL",
    8: "STRIDED_SLICE",
    10: "FULLY_CONNECTED",
}
"""Operations by the newest version that tflite-runtime 2.14.0 runs, as it answered when asked for versions 1 to 20 of
each; those not listed have version 1 only."""
NEWEST = {name: version for version, names in _NEWEST_BY_VERSION.items() for name in names.split()}


def require_runnable(content: bytes, runtime: Runtime, what: str) -> None:
    """Refuse a model that cannot run in ``runtime``; LiteRT runs what has been proven here.

    Args:
        what: the model's name in the message.

    Raises:
        UserError: names the operations that the interpreter does not know.
    """
    if runtime is Runtime.TFLITE_RUNTIME and (unknown := list(_unknown(content))):
        raise UserError(
            f"tflite-runtime {TFLITE_RUNTIME_VERSION} cannot run {what}: it does not know {', '.join(unknown)}; package"
            " another format, such as --quantization float32, or choose among those it runs: convert --target PYTHON"
        )


def _unknown(content: bytes) -> Iterator[str]:
    names: dict[int, Any] = {code: name for name, code in vars(schema().BuiltinOperator).items() if name.isupper()}
    model = schema().Model.GetRootAs(content, 0)
    for position in range(model.OperatorCodesLength()):
        operation = model.OperatorCodes(position)
        # Files from before there were 127 operations have their code in the older of two fields.
        code = max(operation.BuiltinCode(), operation.DeprecatedBuiltinCode())
        name, version = names.get(code, f"operation {code}"), operation.Version()
        if name == "CUSTOM":
            yield f"the custom operation {(operation.CustomCode() or b'').decode(errors='replace')}"
        elif code > LAST_OPERATION or name in _ABSENT:
            yield str(name)
        elif version > (newest := NEWEST.get(name, 1)):
            yield f"{name} version {version} (only up to {newest})"
