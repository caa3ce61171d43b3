"""Hostile files among good ones, at the least memory that all defaults work with and at the default."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.conftest import running_application
from tests.support.bombs import BOMBS
from tests.support.images import COLOURS, encoded, picture
from tests.support.images import png as coloured
from tests.support.processes import functions, memory_bytes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MEGABYTE = 2**20
CORRUPT = {"cut": (coloured()[:200], "image.corrupt"), "half": (encoded(picture(), "JPEG")[:600], "image.corrupt")}


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """The greatest memory of a function seen so far, in bytes, looked at five times a second."""
    peak, done = [0], threading.Event()

    def look() -> None:
        while not done.wait(0.2):
            peak[0] = max(peak[0], *(memory_bytes(pid) for pid in functions()), 0)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield peak
    finally:
        done.set()
        looking.join()


def hostile_files(count: int) -> dict[str, tuple[bytes, str]]:
    made = {name: (make(), code) for name, (make, code) in list(BOMBS.items())[: count - len(CORRUPT)]}
    return {**made, **CORRUPT}


@pytest.mark.parametrize("memory", [1769, 1024])
def test_good_images_survive_hostile_neighbours(tmp_path: Path, memory: int, good: int = 60, hostile: int = 12) -> None:
    bad = hostile_files(hostile)
    with peak_memory() as peak, running_application(
        tmp_path, parameters={"MemorySize": str(memory)}, retry_after_seconds=1, workers=1
    ) as application:  # fmt: skip
        s3, bucket = application.stack.aws.s3, application.stack.bucket
        expected = {f"incoming/{name}": code for name, (_, code) in bad.items()}
        between = max(1, good // hostile)
        names = iter(bad)
        for number in range(good):
            if number % between == 0 and (name := next(names, None)) is not None:
                s3.put_object(Bucket=bucket, Key=f"incoming/{name}", Body=bad[name][0])
            colour = list(COLOURS)[number % 3]
            expected[f"incoming/{number}.png"] = colour
            s3.put_object(Bucket=bucket, Key=f"incoming/{number}.png", Body=coloured(colour, seed=number))
        application.drained(300)
        assert application.wrong(expected) == []
        assert application.waiting(application.stack.dead_letter_queue_url) == 0
    assert 0 < peak[0] < 0.8 * memory * MEGABYTE
