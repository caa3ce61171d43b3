from __future__ import annotations

import sys
from pathlib import Path

import pytest

from model_build.files import cache_folder


@pytest.mark.skipif(sys.platform != "linux", reason="the XDG specification is Linux's")
@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"BUCKETLENS_CACHE": "/big/disk"}, "/big/disk"),
        ({"BUCKETLENS_CACHE": "", "XDG_CACHE_HOME": "/caches"}, "/caches/bucketlens"),
        ({"XDG_CACHE_HOME": "relative/is/invalid"}, "/home/x/.cache/bucketlens"),
        ({}, "/home/x/.cache/bucketlens"),
    ],
)
def test_the_folder_goes_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str
) -> None:
    for name in ("BUCKETLENS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"HOME": "/home/x"} | environment).items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)
