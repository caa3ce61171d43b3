"""Run a command that dies with the process that started it: ``python leash.py COMMAND [ARGUMENT ...]``.

A parent that is killed with SIGKILL cannot end its children; Linux can (prctl(2), PR_SET_PDEATHSIG; kept across
execve). A program of its own, because between fork and exec a process with threads may do next to nothing. It runs with
any Python.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_INIT = 1

if __name__ == "__main__":
    if ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0 or os.getppid() == _INIT:
        sys.exit("leash: the parent is gone or cannot be watched")
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 - the caller passes absolute paths, and there is no shell
