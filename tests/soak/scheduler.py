"""Virtual time and threads of which exactly one runs: it holds the baton, and passes it on whenever it waits."""

from __future__ import annotations

import heapq
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

# Real seconds in which a schedule must end: more means that code under test waits for something that is not simulated.
STUCK_SECONDS = 60.0


class Killed(BaseException):
    """Unwinds a thread of a process that is dead. Not an Exception: code under test must not survive its own death."""


class Stuck(Exception):
    """A thread waits outside of virtual time."""


class Scheduler:
    """Runs callbacks and threads in the order of virtual time (seconds)."""

    def __init__(self) -> None:
        self.now = 0.0
        self.steps = 0
        self._queue: list[tuple[float, int, Thread | Callable[[], None], int]] = []
        self._count = 0
        self._running: Thread | None = None
        self._ended = threading.Semaphore(0)
        self._error: BaseException | None = None

    @property
    def current(self) -> Thread:
        assert self._running is not None, "only a simulated thread can wait"
        return self._running

    def call_at(self, moment: float, callback: Callable[[], None]) -> None:
        """Run a callback, which itself never waits."""
        self._count += 1
        heapq.heappush(self._queue, (max(moment, self.now), self._count, callback, 0))

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        self.call_at(self.now + seconds, callback)

    def sleep(self, seconds: float) -> None:
        """Let others run for so many seconds of virtual time."""
        self.wake(self.current, seconds)
        self.block()

    def block(self) -> None:
        """Wait until somebody calls :meth:`wake` with this thread."""
        thread = self.current
        if not thread.process.dead and self._pass_on(thread) is not thread:
            thread.carrier.baton.acquire()
        if thread.process.dead:
            raise Killed

    def wake(self, thread: Thread, seconds: float = 0.0) -> None:
        """Let a thread go on after so many seconds; an earlier appointment of the same thread is void from here on."""
        thread.appointment += 1
        self._count += 1
        heapq.heappush(self._queue, (self.now + seconds, self._count, thread, thread.appointment))

    def run(self) -> None:
        """Until nothing is left to happen.

        Raises:
            Stuck: a thread waits for something that is not simulated; the message says where.
        """
        self._pass_on(None)
        if not self._ended.acquire(timeout=STUCK_SECONDS):
            raise Stuck(_stacks())
        if self._error is not None:
            raise self._error

    def stop(self, error: BaseException) -> None:
        self._error = self._error or error
        self._queue.clear()

    def leave(self, thread: Thread, error: BaseException | None) -> None:
        thread.ended = True
        if error is not None:
            self.stop(error)
        self._pass_on(thread)

    def _pass_on(self, leaving: Thread | None) -> Thread | None:
        """Run callbacks until a thread is due, and hand the baton to it unless it has it already."""
        while self._queue:
            moment, _, due, appointment = heapq.heappop(self._queue)
            if isinstance(due, Thread) and (due.ended or due.appointment != appointment):
                continue
            self.now = moment
            if not isinstance(due, Thread):
                try:
                    due()
                except BaseException as error:  # noqa: BLE001 -- told by run()
                    self.stop(error)
                continue
            if due.carrier is None and due.process.dead:
                due.ended = True
                continue
            self.steps += 1
            self._running = due
            if due is not leaving:
                if due.carrier is None:
                    due.carrier = _idle.pop() if _idle else _Carrier()
                    due.carrier.work = (self, due)
                due.carrier.baton.release()
            return due
        self._running = None
        self._ended.release()
        return None


class Process:
    """What dies together: the threads of one Lambda execution environment."""

    def __init__(self, scheduler: Scheduler, name: str, on_death: Callable[[], None]) -> None:
        self.name = name
        self.scheduler = scheduler
        self.dead = False
        self.steps_left: int | None = None
        """Steps until the process is killed; None for never."""
        self._on_death = on_death
        self._threads: list[Thread] = []

    def spawn(self, function: Callable[[], None]) -> None:
        thread = Thread(self, function)
        self._threads = [other for other in self._threads if not other.ended]
        self._threads.append(thread)
        self.scheduler.wake(thread)

    def kill(self) -> None:
        """Every thread of the process ends at the point it has reached, without another effect."""
        if self.dead:
            return
        self.dead = True
        for thread in self._threads:
            if not thread.ended:
                self.scheduler.wake(thread)
        self._on_death()

    def step(self) -> None:
        """Count a step.

        Raises:
            Killed: it was the process's last.
        """
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left <= 0:
                self.kill()
        if self.dead:
            raise Killed


class Thread:
    """A simulated thread."""

    __slots__ = ("appointment", "carrier", "ended", "function", "process")

    def __init__(self, process: Process, function: Callable[[], None]) -> None:
        self.process = process
        self.function = function
        self.appointment = 0
        self.ended = False
        self.carrier: Any = None


class _Carrier:
    """A real thread that runs simulated ones, one after the other: to start a real one each time costs more."""

    def __init__(self) -> None:
        self.baton = threading.Lock()
        self.baton.acquire()
        self.work: tuple[Scheduler, Thread] | None = None
        threading.Thread(target=self._carry, daemon=True).start()

    def _carry(self) -> None:
        while True:
            self.baton.acquire()
            assert self.work is not None
            scheduler, thread = self.work
            failure: BaseException | None = None
            try:
                if not thread.process.dead:
                    thread.function()
            except Killed:
                failure = None
            except BaseException as error:  # noqa: BLE001 -- told by Scheduler.run
                failure = error
            _idle.append(self)
            scheduler.leave(thread, failure)


_idle: list[_Carrier] = []


class SimulatedFuture(Future[Any]):
    """A future that is waited for in virtual time."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self._scheduler = scheduler

    def result(self, timeout: float | None = None) -> Any:
        self._await(timeout)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._await(timeout)
        return super().exception(0)

    def _await(self, timeout: float | None) -> None:
        if not self.done():
            waiting = self._scheduler.current
            if timeout is not None:
                self._scheduler.wake(waiting, timeout)
            self.add_done_callback(lambda _: self._scheduler.wake(waiting))
            self._scheduler.block()


class SimulatedExecutor(Executor):
    """A thread pool of a simulated process."""

    def __init__(self, process: Process, workers: int) -> None:
        self._process = process
        self._free = workers
        self._waiting: deque[Callable[[], None]] = deque()

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Future[Any]:
        future = SimulatedFuture(self._process.scheduler)

        def work() -> None:
            try:
                if future.set_running_or_notify_cancel():
                    future.set_result(function(*arguments, **keywords))
            except Exception as error:  # noqa: BLE001 -- a future carries whatever was raised
                future.set_exception(error)
            self._free += 1
            self._start()

        self._waiting.append(work)
        self._start()
        return future

    def _start(self) -> None:
        if self._free and self._waiting:
            self._free -= 1
            self._process.spawn(self._waiting.popleft())


class Slots:
    """A semaphore in virtual time, first come, first served."""

    def __init__(self, scheduler: Scheduler, free: int) -> None:
        self._scheduler = scheduler
        self._free = free
        self._waiting: deque[Thread] = deque()

    def acquire(self, timeout: float) -> bool:
        """Whether a slot was free within ``timeout`` seconds."""
        if self._free:
            self._free -= 1
            return True
        waiting = self._scheduler.current
        self._waiting.append(waiting)
        self._scheduler.wake(waiting, max(0.0, timeout))
        self._scheduler.block()
        if waiting in self._waiting:
            self._waiting.remove(waiting)
            return False
        return True

    def release(self) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.ended:
                self._scheduler.wake(waiting)
                return
        self._free += 1


def _stacks() -> str:
    frames = sys._current_frames()
    return "\n".join("".join(traceback.format_stack(frame)[-4:]) for frame in frames.values())
