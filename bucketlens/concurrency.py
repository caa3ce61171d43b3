"""Many requests at once, and a bounded number of them in flight."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

One = TypeVar("One")
Made = TypeVar("Made")


def as_done(act: Callable[[One], Made], over: Iterable[One], at_once: int) -> Iterator[tuple[One, Made]]:
    """Each of ``over`` with what ``act`` returns for it, as it is done; what ``act`` raises is raised here."""
    remaining = iter(over)
    running: dict[Future[Made], One] = {}
    with ThreadPoolExecutor(at_once) as pool:
        try:
            while True:
                for one in remaining:
                    running[pool.submit(act, one)] = one
                    if len(running) == 2 * at_once:
                        break
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
        finally:
            for future in running:
                future.cancel()
