"""Native libraries: TensorFlow imported late (2.3 s of CPU), and all of them kept off the screen.

What matters of their messages comes as an exception.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from classifier.errors import UserError
from model_build.choices import EXTRAS


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Drop what the block writes to file descriptor 2, by whatever library.

    TensorFlow's C++ side writes there before its log level counts, its converter whatever the level, and LiteRT
    announces its delegate on first use.
    """
    sys.stderr.flush()
    screen = os.dup(2)
    with tempfile.TemporaryFile() as dropped:
        os.dup2(dropped.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(screen, 2)
            os.close(screen)


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
        raise UserError(f"TensorFlow cannot be imported ({error}); {EXTRAS}") from None
    if first:
        tensorflow.get_logger().setLevel("ERROR")
        tensorflow.config.threading.set_intra_op_parallelism_threads(os.cpu_count() or 1)
        # Two, for the two gradients of every layer: measured half the time a step of one on 2 cores.
        tensorflow.config.threading.set_inter_op_parallelism_threads(2)
    return tensorflow, keras


def one_line(error: BaseException) -> str:
    """What a library says in an exception, which may be pages: at most 200 characters of it."""
    return " ".join(str(error).split())[:200] or type(error).__name__
