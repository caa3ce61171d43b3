"""The processes below this one: the function's among them, their memory, and their end."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path


def children(of: int | None = None) -> set[int]:
    """Processes below one, by default this one, that have not ended."""
    root = os.getpid() if of is None else of
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        with _unless_gone():
            if folder.name.isdigit():
                status, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
                if status != "Z":
                    parents[int(folder.name)] = int(parent)
    found, added = {root}, True
    while added:
        below = {pid for pid, parent in parents.items() if parent in found} - found
        found |= below
        added = bool(below)
    return found - {root}


def functions() -> set[int]:
    """Processes of Lambda functions below this one, without their own children."""
    running = {pid for pid in children() if _runs_a_function(pid)}
    return running - {child for pid in running for child in children(pid)}


def kill_functions() -> int:
    """End every function at once, as Lambda does with one out of memory; how many there were."""
    killed = functions()
    for pid in killed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(killed)


def memory_bytes(pid: int) -> int:
    """Memory of a process and those below it; what they share is counted once (proportional set size)."""
    total = 0
    for each in {pid} | children(pid):
        with _unless_gone():
            fields = Path(f"/proc/{each}/smaps_rollup").read_text().split()
            total += 1024 * int(fields[fields.index("Pss:") + 1])
    return total


def _runs_a_function(pid: int) -> bool:
    with _unless_gone():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return words[1:3] == [b"-m", b"awslambdaric"]
    return False


@contextlib.contextmanager
def _unless_gone() -> Iterator[None]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
        yield
