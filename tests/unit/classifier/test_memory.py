"""The division of the function's memory: nothing legal exceeds it, and what cannot work is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier.errors import ConfigError
from classifier.imaging import Limits
from classifier.memory import LEAST_SHARE, MEGABYTE, USABLE, resident_bytes, share_of_decoding
from classifier.settings import Settings
from classifier.worker import MOST_KEPT_BYTES

OWN, MODEL, WORKER = 140 * MEGABYTE, 14 * MEGABYTE, 30 * MEGABYTE


def settings_with(memory_mb: int, **environment: str) -> Settings:
    return Settings.from_environment(
        {
            "MODEL_URI": "s3://photos/models/",
            "TABLE_NAME": "predictions",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mb),
            **environment,
        }
    )


def share(settings: Settings, own: int = OWN, model: int = MODEL, worker: int = WORKER) -> int:
    return share_of_decoding(
        settings.memory_bytes,
        own=own,
        in_flight=settings.bytes_in_flight,
        workers=settings.workers,
        model=model,
        worker=worker,
        max_bytes=settings.limits.max_bytes,
    )


@given(
    memory_mb=st.integers(512, 10_240),
    max_bytes=st.integers(1, 536_870_912),
    own=st.integers(0, 400 * MEGABYTE),
    model=st.integers(0, 200 * MEGABYTE),
    worker=st.integers(0, 400 * MEGABYTE),
)
def test_what_is_not_refused_stays_under_four_fifths(
    memory_mb: int, max_bytes: int, own: int, model: int, worker: int
) -> None:
    settings = settings_with(memory_mb, MAX_IMAGE_BYTES=str(max_bytes))
    try:
        decoding = share(settings, own, model, worker)
    except ConfigError as error:
        assert "MemorySize" in str(error)
        assert "MAX_IMAGE_BYTES" in str(error)
        return
    assert decoding >= LEAST_SHARE
    each = worker + MOST_KEPT_BYTES + max_bytes + decoding
    assert own + settings.bytes_in_flight + model + settings.workers * each <= USABLE * settings.memory_bytes


@pytest.mark.parametrize("memory_mb", [512, 1024, 1769, 3538, 10_240])
def test_defaults_work_at_every_size(memory_mb: int) -> None:
    assert share(settings_with(memory_mb)) >= LEAST_SHARE


def test_the_default_size_decodes_the_costliest_legal_picture() -> None:
    assert share(settings_with(1769)) >= 16 * Limits().max_pixels * 0.95


def test_the_refusal_names_a_size_that_works() -> None:
    with pytest.raises(ConfigError, match="raise MemorySize to") as raised:
        share(settings_with(512, MAX_IMAGE_BYTES="100000000"))
    named = int(str(raised.value).split("MemorySize to ")[1].split()[0])
    assert named < 1769
    assert share(settings_with(named, MAX_IMAGE_BYTES="100000000")) >= LEAST_SHARE


def test_resident_memory_is_that_of_this_process() -> None:
    before = resident_bytes()
    ballast = b"x" * (100 * MEGABYTE)
    assert 90 * MEGABYTE < resident_bytes() - before < 130 * MEGABYTE
    del ballast
