"""What a person may choose, by the words of the command line. Imports nothing, so that ``--help`` stays fast."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

EXTRAS: Final = (
    "run `make setup` in a checkout and use .venv/bin/bucketlens, or install the wheel file with its extras:"
    " pip install 'PATH/TO/bucketlens-VERSION-py3-none-any.whl[build,local]'"
)
"""What to do where an optional dependency is not installed."""


class QuantizationChoice(StrEnum):
    """Which of a run's models becomes the bundle's; ``auto``: the one that conversion chose."""

    AUTO = "auto"
    FLOAT32 = "float32"
    FLOAT16 = "float16"
    DYNAMIC = "dynamic"
    INT8 = "int8"


class Runtime(StrEnum):
    """The interpreter that will serve: LiteRT in the zip package, tflite-runtime in the container image."""

    LITERT = "ai-edge-litert"
    TFLITE_RUNTIME = "tflite-runtime"


class ScalingChoice(StrEnum):
    """What a float model's input expects of a pixel value 0..255."""

    AUTO = "auto"
    NONE = "none"
    ZERO_ONE = "zero-one"
    MINUS_ONE_ONE = "minus-one-one"


class OutputChoice(StrEnum):
    """What the model's output numbers are, by the kinds of :class:`classifier.bundle.OutputSpec`."""

    AUTO = "auto"
    SOFTMAX = "softmax"
    LOGITS = "logits"
    SIGMOID = "sigmoid"
    MULTI_LABEL = "multi-label"


class Resize(StrEnum):
    """How a photo becomes the model's square input: by the names of :class:`classifier.imaging.ResizePolicy`."""

    STRETCH = "stretch"
    CROP = "crop"
    PAD = "pad"


class Depth(StrEnum):
    """How much of a backbone fine-tuning may change, from its end."""

    NONE = "none"
    QUARTER = "quarter"
    HALF = "half"
    MOST = "most"
    ALL = "all"


class Optimizer(StrEnum):
    """``sgd`` has momentum."""

    ADAMW = "adamw"
    SGD = "sgd"


class Pruner(StrEnum):
    """``median``: stop a trial that does worse than half of the others at its stage. ``hyperband``: give most trials
    little, and more to those that lead (Li et al., JMLR 2018). ``none``: let all run."""

    MEDIAN = "median"
    HYPERBAND = "hyperband"
    NONE = "none"


AUTO: Final = "auto"
"""In place of a backbone: the one that suits the photos (:mod:`model_build.training.choosing`)."""

BACKBONES = (
    "small_cnn",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "efficientnet_v2_b0",
    "resnet50",
    "xception",
)
"""Names of the networks in :mod:`model_build.training.backbones`, for ``--help``."""
