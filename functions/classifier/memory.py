"""Who may use how much of the function's memory, so that no batch of images can exhaust it.

A fifth of it stays free, for the kernel and for what nobody has thought of. Of the rest, in this order: this process as
it is, and some to grow; the files that are in flight; the model, which all workers share; each worker with its copy of
one file; and what is left is for decoding, in equal shares.
"""

from __future__ import annotations

import resource
from pathlib import Path

from classifier.errors import ConfigError
from classifier.worker import MOST_KEPT_BYTES

MEGABYTE = 2**20
USABLE = 0.8
LEAST_SHARE = 64 * MEGABYTE
"""For decoding one image: a 12-megapixel JPEG takes a few megabytes, a 12-megapixel PNG 36 to 96."""

# This process: stacks, connections and buffers of the threads; and the process that workers are forked from.
_GROWTH = 48 * MEGABYTE
# Each worker, as it works: memory that it shared with the others until it wrote to it.
_UNSHARED = 16 * MEGABYTE


def resident_bytes() -> int:
    """Memory of this process."""
    # The second figure: resident pages (proc_pid_statm(5)).
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def share_of_decoding(
    total: int, *, own: int, in_flight: int, workers: int, model: int, worker: int, max_bytes: int
) -> int:
    """How much memory decoding one image may take. All figures are bytes.

    Args:
        total: the function's memory.
        own: what this process takes.
        in_flight: what files in flight may take, together.
        workers: how many decode at once.
        model: the size of the model file.
        worker: what one worker takes with the model loaded.
        max_bytes: the largest file.

    Raises:
        ConfigError: there is too little to decode anything.
    """
    left = int(total * USABLE) - own - _GROWTH - in_flight - model
    share = left // workers - worker - _UNSHARED - MOST_KEPT_BYTES - max_bytes
    if share < LEAST_SHARE:
        missing = (LEAST_SHARE - share) * workers / USABLE
        raise ConfigError(
            f"{total // MEGABYTE} MB of memory are too little for this model and for images of {max_bytes:,} bytes:"
            f" raise MemorySize to {-int(-(total + missing) // MEGABYTE)} MB or more, or lower MAX_IMAGE_BYTES"
        )
    return share
