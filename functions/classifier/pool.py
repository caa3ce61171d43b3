"""Worker processes that classify for the function, and what becomes of an image when one of them dies of it."""

from __future__ import annotations

import fcntl
import json
import math
import mmap
import os
import queue
import select
import signal
import socket
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from classifier import seed
from classifier.bundle import Manifest
from classifier.errors import (
    BucketlensError,
    CorruptImage,
    ImageRejected,
    ImageTooCostly,
    ModelIncompatibleError,
    ModelUnavailable,
    OutOfTime,
)
from classifier.imaging import Limits, sniff
from classifier.model import Answer, Classified, Prediction
from classifier.worker import DECODED, DECODING, IMAGE, MODEL

CPU_SECONDS = 10.0
"""Processor time that decoding one image may take; the largest legal pictures of real cameras take 1 to 2 s."""

HANG_SECONDS = 30.0

_STIRRING_SECONDS = 0.05
_PIECE = 65_536
_REJECTIONS: dict[str, type[BucketlensError]] = {kind.code: kind for kind in ImageRejected.__subclasses__()}


@dataclass(frozen=True)
class Bounds:
    """What one image may cost before it is refused.

    Attributes:
        limits: bytes and pixels.
        memory: bytes that its decoding may take.
        cpu_seconds: of decoding.
    """

    limits: Limits
    memory: int
    cpu_seconds: float


class ModelFile:
    """A ``model.tflite`` in memory, which every worker maps and none can change."""

    def __init__(self, content: bytes) -> None:
        self.size_bytes = len(content)
        self.descriptor = os.memfd_create("model.tflite", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with os.fdopen(self.descriptor, "wb", closefd=False) as file:
            file.write(content)
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)

    def __del__(self) -> None:
        os.close(self.descriptor)


def shared_byte() -> int:
    """The descriptor of a byte for two processes. Neither can cut it off, which would kill the other when it looks."""
    descriptor = os.memfd_create("progress", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, 1)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return descriptor


class _Hung(Exception):
    """A worker neither answers nor uses the processor."""


class WorkerDied(Exception):
    """A worker ended before it had answered. ``decoded``: it was the model that ran, no longer the decoder."""

    def __init__(self, status: int, decoded: bool) -> None:
        self.signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        self.decoded = decoded
        how = signal.Signals(self.signal).name if self.signal else f"exit status {os.waitstatus_to_exitcode(status)}"
        super().__init__(how)


@dataclass(frozen=True)
class _Answer:
    """What a worker says of an image; ``best`` are label indices and confidences, best first, and ``above`` the indices
    of the labels that apply, of a multi-label model."""

    format: str
    width: int
    height: int
    best: list[tuple[int, float]]
    above: list[int] | None
    novelty: float | None
    timing_ms: dict[str, float]


class _Worker:
    """One worker process with the model loaded; serves one thread at a time.

    Raises:
        ModelIncompatibleError: the interpreter refuses the model, or dies or hangs while it loads it.
        ModelUnavailable: no process could be started.
    """

    def __init__(
        self, parent: seed.Seed, model: ModelFile, manifest: Manifest, novelty: bytes, hang_seconds: float
    ) -> None:
        self.usable = True
        self._seed = parent
        self._hang_seconds = hang_seconds
        self._received = b""
        self._connection, theirs = socket.socketpair()
        weakref.finalize(self, self._connection.close)
        self._connection.setblocking(False)
        self._poll = select.poll()
        with theirs:
            self._pid = self._seed.fork(theirs)
        progress = shared_byte()
        self._progress = mmap.mmap(progress, 1)
        document = manifest.to_bytes()
        try:
            header = MODEL.pack(len(document), len(novelty))
            socket.send_fds(self._connection, [header], [model.descriptor, progress])
            self._send(document + novelty, deadline=math.inf)
            loaded = self._read(deadline=math.inf)
        except _Hung as error:
            self.close()
            raise ModelIncompatibleError(f"the interpreter {error} while it loaded the model") from None
        except ConnectionError:
            how = WorkerDied(self.close(), decoded=False)
            raise ModelIncompatibleError(f"the interpreter crashed with {how} while it loaded the model") from None
        finally:
            os.close(progress)
        if "code" in loaded:
            self.close()
            raise ModelIncompatibleError(loaded["message"])
        self.private_bytes = int(loaded["private"])

    def close(self) -> int:
        """End the process; how it ended, as :func:`os.waitpid` says it."""
        self.usable = False
        self._connection.close()
        try:
            return self._seed.end(self._pid)
        except ModelUnavailable:  # the seed is gone, and nobody else learns how its workers end
            return 0

    def classify(self, data: bytes, bounds: Bounds, top_k: int, deadline: float) -> _Answer:
        """Decode and classify one image before ``deadline``, by the monotonic clock.

        Raises:
            ImageRejected, ModelIncompatibleError: as the worker found.
            ImageTooCostly: the worker hung while it decoded it.
            ModelUnavailable: it hung while the model ran.
            OutOfTime: the deadline came first.
            WorkerDied
        """
        self._progress[0] = DECODING
        try:
            header = IMAGE.pack(len(data), bounds.memory, bounds.limits.max_pixels, bounds.cpu_seconds, top_k)
            sent = self._connection.sendmsg([header, data])
            self._send(memoryview(data)[max(0, sent - len(header)) :], deadline)
            facts = self._read(deadline)
        except OutOfTime:
            self.close()
            raise
        except _Hung as error:
            self.close()
            if self._progress[0] == DECODED:
                raise ModelUnavailable(f"the interpreter {error} while it ran the model on this image") from None
            raise ImageTooCostly(f"{_what(data)} made the decoder hang: it {error}") from None
        except ConnectionError:
            raise WorkerDied(self.close(), self._progress[0] == DECODED) from None
        if facts["last"]:
            self.close()
        if "code" in facts:
            raise _REJECTIONS.get(facts["code"], ModelIncompatibleError)(facts["message"])
        return _Answer(
            format=facts["format"],
            width=facts["width"],
            height=facts["height"],
            best=[(index, confidence) for index, confidence in facts["top"]],
            above=facts["above"],
            novelty=facts["novelty"],
            timing_ms={"decode": facts["decode"], "predict": facts["predict"]},
        )

    def _send(self, data: bytes | memoryview, deadline: float) -> None:
        while data:
            try:
                data = data[self._connection.send(data) :]
            except BlockingIOError:
                self._wait(select.POLLOUT, deadline)

    def _read(self, deadline: float) -> dict[str, Any]:
        while b"\n" not in self._received:
            self._wait(select.POLLIN, deadline)
            piece = self._connection.recv(_PIECE)
            if not piece:
                raise ConnectionResetError
            self._received += piece
        line, _, self._received = self._received.partition(b"\n")
        try:
            return dict(json.loads(line))
        except (TypeError, ValueError):  # written by a process whose memory is damaged
            raise ConnectionResetError from None

    def _wait(self, event: int, deadline: float) -> None:
        """Wait for the worker for as long as it works. On a busy machine that may be long, and is no image's fault."""
        self._poll.register(self._connection, event)
        used = self._cpu_seconds()
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise OutOfTime("the invocation's time was up before the image was done")
            if self._poll.poll(1000 * min(left, self._hang_seconds)):
                return
            if left > self._hang_seconds:
                before, used = used, self._cpu_seconds()
                if used - before < _STIRRING_SECONDS:
                    raise _Hung(f"made no progress for {self._hang_seconds:g} s")

    def _cpu_seconds(self) -> float:
        # The clock of clock_getcpuclockid(3), which Python has for threads only. The process id stays the worker's
        # until close() reaps it; only when its seed has died, it may be gone already.
        try:
            return time.clock_gettime(~self._pid << 3 | 2)
        except OSError:
            raise ConnectionResetError from None


class WorkerPool:
    """Worker processes of one model.

    Args:
        content: the verified ``model.tflite``.
        novelty: the verified ``novelty.npy`` of a bundle with one.
        workers: how many images are decoded and classified at the same time.
        plan_memory: bytes that one image may take, from what the model and each worker with it take.
        cpu_seconds: of decoding one image.
        hang_seconds: how long a worker may neither answer nor use the processor.
        running_seed: the process to fork workers from.

    Raises:
        ModelIncompatibleError: the interpreter refuses the model, or dies or hangs while it loads it.
        ConfigError: from ``plan_memory``, there is not enough.
    """

    def __init__(
        self,
        manifest: Manifest,
        content: bytes,
        novelty: bytes = b"",
        *,
        workers: int,
        limits: Limits,
        plan_memory: Callable[[int, int], int],
        cpu_seconds: float = CPU_SECONDS,
        hang_seconds: float = HANG_SECONDS,
        running_seed: Callable[[], seed.Seed] = seed.running,
    ) -> None:
        self.manifest = manifest
        self._running_seed = running_seed
        self._hang_seconds = hang_seconds
        self._model = ModelFile(content)
        self._novelty = novelty
        first = self._start()
        memory = plan_memory(self._model.size_bytes, first.private_bytes)
        self.bounds = Bounds(limits, memory, cpu_seconds)
        self._slots: queue.SimpleQueue[_Worker | None] = queue.SimpleQueue()
        self._slots.put(first)
        for _ in range(workers - 1):
            self._slots.put(self._start())

    def classify(self, data: bytes, top_k: int, time_left: float) -> Classified:
        """Decode and classify one image.

        Args:
            data: the file.
            top_k: how many labels to name.
            time_left: seconds that the invocation still has for it.

        Raises:
            ImageRejected: one of its leaves; the image cannot be classified, now or ever.
            OutOfTime: ``time_left`` ran out before the image's own bounds did; nothing speaks against the image.
            ModelUnavailable: the model died or hung on it, or no worker could be started.
            ModelIncompatibleError: the interpreter fails on this model.
        """
        answer = self._classify(data, self.bounds, top_k, time.monotonic() + time_left)
        labels = self.manifest.labels
        top = tuple(Prediction(labels[index], confidence) for index, confidence in answer.best)
        above = None if answer.above is None else tuple(labels[index] for index in answer.above)
        return Classified(answer.format, answer.width, answer.height, top, answer.timing_ms, above, answer.novelty)

    def answer(self, data: bytes) -> Answer:
        """Probabilities of one image in label order, and its novelty. Raises as :meth:`classify`."""
        bounds = replace(self.bounds, limits=Limits())
        answer = self._classify(data, bounds, len(self.manifest.labels), math.inf)
        return Answer(np.array([confidence for _, confidence in sorted(answer.best)], np.float32), answer.novelty)

    def close(self) -> None:
        """End the workers that are not at work; those that are end when they are done."""
        while True:
            try:
                worker = self._slots.get_nowait()
            except queue.Empty:
                return
            if worker is not None:
                worker.close()

    def _classify(self, data: bytes, bounds: Bounds, top_k: int, deadline: float) -> _Answer:
        try:
            return self._attempt(data, bounds, top_k, deadline)
        except WorkerDied as error:
            # An image is to blame for the processor time it uses. But what crashes a worker may be the damage that an
            # earlier image did to its memory, and what kills it the system: a new worker tells.
            if error.signal == signal.SIGPROF:
                raise _blame(error, data, bounds) from error
        try:
            return self._attempt(data, bounds, top_k, deadline)
        except WorkerDied as error:
            raise _blame(error, data, bounds) from error

    def _attempt(self, data: bytes, bounds: Bounds, top_k: int, deadline: float) -> _Answer:
        try:
            worker = self._slots.get(timeout=min(max(0.0, deadline - time.monotonic()), threading.TIMEOUT_MAX))
        except queue.Empty:
            raise OutOfTime("the invocation's time was up before a worker was free for the image") from None
        try:
            if worker is None:
                worker = self._replacement()
            return worker.classify(data, bounds, top_k, deadline)
        finally:
            self._slots.put(worker if worker is not None and worker.usable else None)

    def _start(self) -> _Worker:
        return _Worker(self._running_seed(), self._model, self.manifest, self._novelty, self._hang_seconds)

    def _replacement(self) -> _Worker:
        try:
            return self._start()
        except ModelIncompatibleError as error:  # it was loaded before
            raise ModelUnavailable(f"a crashed worker could not be replaced: {error}") from error


def _blame(error: WorkerDied, data: bytes, bounds: Bounds) -> BucketlensError:
    if error.decoded:
        return ModelUnavailable(f"the interpreter crashed with {error} while it ran the model on this image")
    if error.signal == signal.SIGPROF:
        return ImageTooCostly(
            f"{_what(data)} took over {bounds.cpu_seconds:g} s of processor time to decode; save it with fewer pixels"
            " or without interlacing"
        )
    if error.signal == signal.SIGKILL:
        return ImageTooCostly(f"{_what(data)} was decoded twice when the system ended the process, out of memory")
    return CorruptImage(f"{_what(data)} crashes the decoder ({error})")


def _what(data: bytes) -> str:
    return f"the {sniff(data)} file"
