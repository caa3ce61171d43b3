"""TensorFlow, imported late (2.3 s of CPU) and quiet. Only training and conversion call for it."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from classifier.errors import UserError
from model_build.quiet import quiet_stderr


def load_tensorflow() -> tuple[Any, Any]:
    """The modules ``tensorflow`` and ``keras``, with threads as many as cores.

    Raises:
        UserError: TensorFlow is not installed.
    """
    first = "tensorflow" not in sys.modules
    if first:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        with quiet_stderr():
            tensorflow = importlib.import_module("tensorflow")
            keras = importlib.import_module("keras")
    except ImportError as error:
        raise UserError(
            f"TensorFlow cannot be imported ({error}); install it with: pip install 'bucketlens[build]'"
        ) from None
    if first:
        tensorflow.get_logger().setLevel("ERROR")
        tensorflow.config.threading.set_intra_op_parallelism_threads(os.cpu_count() or 1)
        # Two, for the two gradients of every layer: measured half the time a step of one on 2 cores.
        tensorflow.config.threading.set_inter_op_parallelism_threads(2)
    return tensorflow, keras
