"""The process that worker processes are forked from.

A process with threads must not fork: a lock that another thread holds, the allocator's for one, stays locked in the
child for good (fork(2), POSIX.1-2024). The function has threads as soon as it fetches images, and has to replace
workers at any time. So one process without threads is forked while the function starts, with numpy, Pillow and the
interpreter imported, and forks for it from then on (the "fork server" of Python's multiprocessing, without its
semaphores, which Lambda lacks). A worker starts in milliseconds and shares the memory of everything imported.

It ends with the function, whatever the function dies of, and takes the workers with it.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Self

from classifier.errors import ModelUnavailable
from classifier.model import Model
from classifier.worker import Load, serve

_NUMBER = struct.Struct("<q")
_HIGHEST_DESCRIPTOR = 4096


class Seed:
    """The function's end of the connection to the seed process; safe to use from several threads."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._turn = threading.Lock()
        # Not __del__, which the collector may call after the socket's own, which then complains.
        weakref.finalize(self, control.close)

    @classmethod
    def start(cls) -> Self:
        """Start a seed process: by a fork where this process has a single thread, else as a new interpreter.

        A fork costs 2 ms, a new interpreter the imports anew.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if threading.active_count() == 1:
            if os.fork() == 0:
                _live(theirs, Model.load)
        else:
            command = f"from classifier import seed; seed.main({theirs.fileno()})"
            subprocess.Popen(
                [sys.executable, "-c", command],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            ).returncode = 0  # it ends with this process, which never waits for it
        theirs.close()
        return cls(ours)

    def alive(self) -> bool:
        """Whether it still answers: nothing but its end can be waiting to be read between two requests."""
        with self._turn:
            try:
                return self._control.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
            except BlockingIOError:
                return True
            except OSError:
                return False

    def fork(self, connection: socket.socket) -> int:
        """Start a worker that serves ``connection``.

        Returns:
            Its process id, which stays its own until :meth:`end`.

        Raises:
            ModelUnavailable: the system has no process or no memory left for it.
        """
        pid = self._ask(lambda: socket.send_fds(self._control, [b"fork"], [connection.fileno()]))
        if pid < 0:
            raise ModelUnavailable(f"no worker process could be started: {os.strerror(-pid)}")
        return pid

    def end(self, pid: int) -> int:
        """Kill a worker unless it has ended by itself; how it ended, as :func:`os.waitpid` says it."""
        return self._ask(lambda: self._control.send(_NUMBER.pack(pid)))

    def _ask(self, send: Callable[[], int]) -> int:
        with self._turn:
            try:
                send()
                answer = self._control.recv(_NUMBER.size)
            except OSError as error:
                raise ModelUnavailable(f"the process that starts workers is gone: {error.strerror}") from error
        if not answer:
            raise ModelUnavailable("the process that starts workers is gone")
        return int(_NUMBER.unpack(answer)[0])


_running: Seed | None = None
_starting = threading.Lock()


def running() -> Seed:
    """This process's seed, started on first use, and anew should it have died."""
    global _running
    with _starting:
        if _running is None or not _running.alive():
            _running = Seed.start()
        return _running


def main(descriptor: int, load: Load = Model.load) -> None:
    """Be the seed process on an inherited socket; ``load`` loads the model in its workers."""
    _live(socket.socket(fileno=descriptor), load)


def _live(control: socket.socket, load: Load) -> None:
    try:
        # What is here already is neither looked at by the collector nor, then, copied for each worker.
        gc.freeze()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGPROF):
            signal.signal(number, signal.SIG_DFL)
        # Files of the function that would stay open as long as we live.
        os.closerange(3, control.fileno())
        os.closerange(control.fileno() + 1, _HIGHEST_DESCRIPTOR)
        _serve(control, load)
    finally:
        os._exit(0)


def _serve(control: socket.socket, load: Load) -> None:
    workers: set[int] = set()
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, _NUMBER.size, 1)
        if not message:
            break
        if descriptors:
            answer = _fork(control, descriptors[0], load)
            workers.add(answer)
        else:
            (pid,) = _NUMBER.unpack(message)
            os.kill(pid, signal.SIGKILL)
            answer = os.waitpid(pid, 0)[1]
            workers.discard(pid)
        control.send(_NUMBER.pack(answer))
    for pid in workers:
        if pid > 0:
            os.kill(pid, signal.SIGKILL)


def _fork(control: socket.socket, descriptor: int, load: Load) -> int:
    try:
        pid = os.fork()
    except OSError as error:
        pid = -(error.errno or 1)
    if pid == 0:
        try:
            control.close()
            serve(socket.socket(fileno=descriptor), load)
            os._exit(0)
        finally:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    os.close(descriptor)
    return pid
