"""Classifies files of this machine as the function does: its workers, its bounds, its result documents. No AWS."""

from __future__ import annotations

import math
import os
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from classifier.classification import Classifier, classify_image
from classifier.errors import TransientError, UserError
from classifier.images import Fetched
from classifier.imaging import Limits
from classifier.memory import MEGABYTE, resident_bytes, share_of_decoding
from classifier.pool import WorkerPool
from classifier.records import ImageFacts, Result
from model_build.data.remote import s3_client
from model_build.evaluation.opening import OpenBundle, open_model
from model_build.native import quiet_stderr

STDIN = "-"
# The template's MemorySize: what is image.too_costly here is so in a function with the default parameters.
_WORKER_BYTES = 1769 * MEGABYTE
_TOP_K = 5
_LIMITS = Limits()


@dataclass(frozen=True)
class Unclassified:
    """A file that could not be read, or that the model failed on: nothing is known of the image."""

    name: str
    reason: str


def find_files(paths: Sequence[str]) -> list[str]:
    """Files, folders with everything below them in order of name, and ``-``; hidden files only if they are named.

    Raises:
        UserError: a path does not exist, a folder has no files or cannot be read, or ``-`` is given twice.
    """
    if paths.count(STDIN) > 1:
        raise UserError("- is standard input, which holds one image: give it once")
    found: list[str] = []
    for path in paths:
        if path != STDIN and Path(path).is_dir():
            below = list(_below(path))
            if not below:
                raise UserError(f"there are no files in the folder {path}")
            found += below
        elif path == STDIN or Path(path).exists():
            found.append(path)
        else:
            raise UserError(f"{path} does not exist")
    return found


@contextmanager
def started_workers(bundle: str, count: int) -> Iterator[WorkerPool]:
    """``count`` worker processes with a model.

    Args:
        bundle: folder of a bundle or of a converted run, or ``s3://bucket/models/``, where the live version is taken.

    Raises:
        UserError: it is none of these.
        ModelUnavailable, ModelIntegrityError, ModelIncompatibleError: as the function would raise them.
    """
    with workers_of(open_model(bundle, client=s3_client), count) as pool:
        yield pool


@contextmanager
def workers_of(opened: OpenBundle, count: int) -> Iterator[WorkerPool]:
    """As :func:`started_workers`, of a model that has been opened."""
    with quiet_stderr():  # which the workers inherit, and whatever replaces them
        pool = WorkerPool(
            opened.manifest,
            opened.content,
            opened.novelty,
            workers=count,
            limits=_LIMITS,
            plan_memory=lambda model, worker: share_of_decoding(
                count * _WORKER_BYTES,
                own=resident_bytes(),
                in_flight=count * _LIMITS.max_bytes,
                workers=count,
                model=model,
                worker=worker,
                max_bytes=_LIMITS.max_bytes,
            ),
        )
    try:
        yield pool
    finally:
        pool.close()


def predict(
    names: Iterable[str], model: Classifier, *, at_once: int, stdin: BinaryIO, clock: Callable[[], datetime]
) -> Iterator[Result | Unclassified]:
    """Classify files, in their order. In the documents the key is the name of the file; there is no bucket.

    Args:
        at_once: how many are read and classified at the same time.
        stdin: what ``-`` stands for.
        clock: the time, aware.

    Raises:
        FatalError: the model cannot be used.
    """
    request_id = str(uuid.uuid4())

    def classify(name: str) -> Result | Unclassified:
        try:
            return classify_image(
                ImageFacts(key=name),
                lambda: _read(name, stdin),
                model,
                limits=_LIMITS,
                top_k=_TOP_K,
                review_threshold=None,
                time_left=lambda: math.inf,
                clock=clock,
                request_id=request_id,
            )
        except OSError as error:
            return Unclassified(name, f"cannot be read: {error.strerror}")
        except TransientError as error:
            return Unclassified(name, str(error))

    waiting: deque[Future[Result | Unclassified]] = deque()
    with ThreadPoolExecutor(at_once, thread_name_prefix="image") as executor:
        try:
            for name in names:
                waiting.append(executor.submit(classify, name))
                if len(waiting) > 2 * at_once:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


def _below(folder: str) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        raise UserError(f"the folder {error.filename} cannot be read: {error.strerror}")

    for at, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (str(Path(at, name)) for name in sorted(files) if not name.startswith("."))


def _read(name: str, stdin: BinaryIO) -> Fetched:
    if name == STDIN:
        return _bounded(stdin)
    with Path(name).open("rb") as file:
        return _bounded(file, os.fstat(file.fileno()).st_size)


def _bounded(file: BinaryIO, size: int = 0) -> Fetched:
    data = file.read(_LIMITS.max_bytes + 1) if size <= _LIMITS.max_bytes else b""
    return Fetched(data, max(size, len(data)), etag="", version_id=None)
