"""Who is alive: a process holds a lock on its own file, and the system lets go of it whatever kills the process."""

from __future__ import annotations

import fcntl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def worker(folder: Path) -> Iterator[str]:
    """Register this process while the block runs; its identifier."""
    folder.mkdir(parents=True, exist_ok=True)
    name = uuid.uuid4().hex
    path = folder / f"{name}.lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield name
        finally:
            path.unlink(missing_ok=True)


def is_known_dead(folder: Path, name: str) -> bool:
    """Whether that process has been killed. False where one cannot know: it runs, ended well, or is elsewhere.

    A process number would not do: numbers are used again, and mean nothing in another container.
    """
    path = folder / f"{name}.lock"
    try:
        with path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (FileNotFoundError, BlockingIOError):
        return False
    return True


def forget(folder: Path, name: str) -> None:
    """Remove what a dead process left."""
    (folder / f"{name}.lock").unlink(missing_ok=True)
