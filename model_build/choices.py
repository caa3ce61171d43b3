"""What a person may choose, by the words of the command line. Imports nothing, so that ``--help`` stays fast."""

from __future__ import annotations

from enum import StrEnum


class QuantizationChoice(StrEnum):
    """Which of a run's models becomes the bundle's; ``auto``: the one that conversion chose."""

    AUTO = "auto"
    FLOAT32 = "float32"
    FLOAT16 = "float16"
    DYNAMIC = "dynamic"
    INT8 = "int8"


class ScalingChoice(StrEnum):
    """What a float model's input expects of a pixel value 0..255."""

    AUTO = "auto"
    NONE = "none"
    ZERO_ONE = "zero-one"
    MINUS_ONE_ONE = "minus-one-one"


class OutputChoice(StrEnum):
    """What the model's output numbers are."""

    AUTO = "auto"
    SOFTMAX = "softmax"
    LOGITS = "logits"
