"""The function with its stages told apart, as a handler: its answers are CPU seconds by stage, for the whole batch.

The images are done one after the other, so that all processor time between the beginning and the end of a stage is its
own, whichever thread or process spends it. ``dispatch`` is what it costs to have another process decode and predict.
With ``PROFILE`` in the environment the answer also has Python's own profile of the function's main process.
"""

from __future__ import annotations

import cProfile
import io
import os
import pstats
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from classifier import pipeline, pool, store

_spent: defaultdict[str, float] = defaultdict(float)
_workers: list[int] = []


class _Inline(Executor):
    def __init__(self, *_: Any, **__: Any) -> None:
        """As a pool of threads is made, without one."""

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work(*arguments, **named))
        except Exception as error:  # noqa: BLE001 - told by the future, as a thread would
            future.set_exception(error)
        return future


def _replace(owner: Any, name: str, by: Any) -> None:
    getattr(owner, name)  # of another version, it may have another name
    setattr(owner, name, by)


def _worker_seconds() -> float:
    # The clocks of clock_getcpuclockid(3), which Python has for threads only.
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in _workers)


def _seconds() -> float:
    return time.process_time() + _worker_seconds()


def _timed(owner: Any, name: str, stage: str) -> None:
    inner = getattr(owner, name)

    def timed(*arguments: Any, **named: Any) -> Any:
        before = _seconds()
        try:
            return inner(*arguments, **named)
        finally:
            _spent[stage] += _seconds() - before

    setattr(owner, name, timed)


def _timed_classification() -> None:
    inner = pool.WorkerPool.classify

    def timed(*arguments: Any, **named: Any) -> Any:
        before, of_workers = _seconds(), _worker_seconds()
        classified = inner(*arguments, **named)
        spent, worked = _seconds() - before, _worker_seconds() - of_workers
        decode, predict = (classified.timing_ms[stage] / 1000 for stage in ("decode", "predict"))
        # By the clock on the wall, which goes on while the worker waits for a processor.
        share = min(1.0, worked / (decode + predict))
        _spent["decode"] += decode * share
        _spent["predict"] += predict * share
        _spent["dispatch"] += spent - (decode + predict) * share
        return classified

    _replace(pool.WorkerPool, "classify", timed)


_replace(pipeline, "ThreadPoolExecutor", _Inline)
for _name, _stage in (("fetch", "fetch"), ("record", "record"), ("write_lines", "record")):
    _timed(store.Store, _name, _stage)
_timed_classification()

from classifier import app  # noqa: E402 - makes its threads when it is imported


def handler(event: Any, context: Any) -> dict[str, Any]:
    """CPU seconds of each stage of a batch; ``profile`` as text."""
    if not _workers:
        _workers.extend(_descendants(os.getpid()))
    _spent.clear()
    profile = cProfile.Profile(time.process_time) if os.environ.get("PROFILE") else None
    answer = profile.runcall(app.handler, event, context) if profile else app.handler(event, context)
    text = io.StringIO()
    if profile:
        pstats.Stats(profile, stream=text).strip_dirs().sort_stats("tottime").print_stats(45)
    return {**answer, "stages": dict(_spent), "profile": text.getvalue()}


def _descendants(pid: int) -> list[int]:
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text(encoding="ascii").split()
    ]
    return children + [below for child in children for below in _descendants(child)]
