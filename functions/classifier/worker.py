"""What a worker process does: load the model, then decode and classify one image after the other.

Nothing that an image does here reaches the function: what it may cost is limited by the kernel, and a worker that
crashes, hangs or leaks is replaced. The function speaks to it over one socket:

- first the model: a :data:`MODEL` header with the file's descriptor and that of a byte of shared memory, then the
  manifest and ``novelty.npy``. The answer is what the worker occupies by itself.
- then images: an :data:`IMAGE` header and the file. The answer is what the picture is and what the model says. In the
  shared byte stands how far the image has come (:data:`DECODED`), so that when no answer comes it is known whether it
  was the decoder that failed; a message of its own would wake the function for each image once more.

Answers are JSON, a line each, and never pickles: a decoder that hostile bytes have taken over must not get further.
"""

from __future__ import annotations

import json
import mmap
import os
import resource
import signal
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from classifier.bundle import Manifest
from classifier.errors import CorruptImage, ImageRejected, ModelIncompatibleError
from classifier.imaging import Limits
from classifier.model import Model, above_thresholds

Load = Callable[[Path, Manifest, bytes], Model]

MODEL = struct.Struct("<QQ")
"""Lengths of the manifest and of ``novelty.npy`` in bytes; 0 for a bundle without."""
IMAGE = struct.Struct("<QQQdI")
"""Length of the file, memory for its decoding in bytes, most pixels, seconds of CPU time, how many labels to name."""

DECODING, DECODED = range(2)

_LOAD_SECONDS = 60.0
MOST_KEPT_BYTES = 32 * 2**20
"""By how much a worker may have grown when it is done with an image: the allocator keeps some, more is a leak."""

# Twenty times what the first prediction took, so that a slow model is not taken for a model that hangs.
_PREDICT_MARGIN = 20


def serve(connection: socket.socket, load: Load) -> None:
    """Serve the function until it hangs up, or until too little memory came back from an image."""
    # Should memory run out all the same, the kernel is to end us and not the process that reports it.
    Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    header, descriptors, _, _ = socket.recv_fds(connection, MODEL.size, 2)
    with connection, connection.makefile("rb") as stream:
        if not header:
            return
        manifest_length, novelty_length = MODEL.unpack(header)
        manifest, novelty = Manifest.from_bytes(stream.read(manifest_length)), stream.read(novelty_length)
        signal.setitimer(signal.ITIMER_PROF, _LOAD_SECONDS)
        progress = mmap.mmap(descriptors[1], 1)
        os.close(descriptors[1])
        started = time.process_time()
        try:
            model = load(Path(f"/proc/self/fd/{descriptors[0]}"), manifest, novelty)
        except ModelIncompatibleError as error:
            _answer(connection, code=error.code, message=str(error))
            return
        served = _Served(
            connection, model, progress, predict_seconds=1 + _PREDICT_MARGIN * (time.process_time() - started)
        )
        signal.setitimer(signal.ITIMER_PROF, 0)
        _answer(connection, private=_private_bytes())
        last = False
        while not last and (header := stream.read(IMAGE.size)):
            length, share, max_pixels, cpu_seconds, top_k = IMAGE.unpack(header)
            served.memory.limit(length + share)
            limits = Limits(max_bytes=length, max_pixels=max_pixels, memory=share)
            last = served.classify(stream.read(length), limits, cpu_seconds, top_k)


class _Served:
    """A loaded model that answers for one image after the other."""

    def __init__(self, connection: socket.socket, model: Model, progress: mmap.mmap, predict_seconds: float) -> None:
        self.memory = _Memory()
        self._connection = connection
        self._model = model
        self._progress = progress
        self._predict_seconds = predict_seconds

    def classify(self, data: bytes, limits: Limits, cpu_seconds: float, top_k: int) -> bool:
        """Answer for one image; whether it was the last, because memory is missing."""
        try:
            # Unless it is stopped in time, the signal ends the process, in whatever C code it is.
            signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
            started = time.perf_counter()
            image = self._model.manifest.decode(data, limits)
            decode = _milliseconds_since(started)
            self._progress[0] = DECODED
            signal.setitimer(signal.ITIMER_PROF, self._predict_seconds)
            started = time.perf_counter()
            said = self._model.answer(image.tensor)
            if not np.isfinite(said.probabilities).all():
                raise CorruptImage("the model returns NaN for this picture")
            best = np.argsort(-said.probabilities, kind="stable")[:top_k]
            answer: dict[str, Any] = {
                "format": image.format,
                "width": image.width,
                "height": image.height,
                "decode": decode,
                "top": [[int(index), float(said.probabilities[index])] for index in best],
                "above": above_thresholds(said.probabilities, self._model.manifest.output),
                "novelty": said.novelty,
                "predict": _milliseconds_since(started),
            }
        except (ImageRejected, ModelIncompatibleError) as error:
            answer = {"code": error.code, "message": str(error)}
        signal.setitimer(signal.ITIMER_PROF, 0)
        last = self.memory.growth() > MOST_KEPT_BYTES + len(data)
        _answer(self._connection, **answer, last=last)
        return last


class _Memory:
    """This process's private memory, as RLIMIT_DATA counts and limits it (setrlimit(2))."""

    def __init__(self) -> None:
        self._statm = os.open("/proc/self/statm", os.O_RDONLY)
        self._hard_limit = resource.getrlimit(resource.RLIMIT_DATA)[1]
        self._loaded = self._now()

    def limit(self, more: int) -> None:
        """Let it grow by ``more`` bytes over what the loaded model takes and the allocator may keep."""
        most = self._loaded + MOST_KEPT_BYTES + more
        if self._hard_limit != resource.RLIM_INFINITY:
            most = min(most, self._hard_limit)
        resource.setrlimit(resource.RLIMIT_DATA, (most, self._hard_limit))

    def growth(self) -> int:
        return self._now() - self._loaded

    def _now(self) -> int:
        # The sixth figure: data and stack, in pages (proc_pid_statm(5)).
        return int(os.pread(self._statm, 200, 0).split()[5]) * resource.getpagesize()


def _answer(connection: socket.socket, **fields: Any) -> None:
    connection.sendall(json.dumps(fields).encode() + b"\n")


def _milliseconds_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000


def _private_bytes() -> int:
    """What this process does not share with those it was forked from (proc_pid_smaps(5))."""
    rollup = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    kilobytes = (line.split()[1] for line in rollup.splitlines() if line.startswith("Private_Dirty:"))
    return sum(int(number) * 1024 for number in kilobytes)
