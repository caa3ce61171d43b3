"""Keeps native libraries off the screen: what matters of theirs comes as an exception."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


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
