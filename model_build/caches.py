"""Where things are kept that can be had again: the operating system's folder for that, one for each purpose."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """``BUCKETLENS_CACHE``, else ``bucketlens`` in the user's cache folder; not created.

    https://specifications.freedesktop.org/basedir-spec/latest/ for Linux, ``~/Library/Caches`` on macOS.
    """
    chosen = os.environ.get("BUCKETLENS_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "bucketlens"
    shared = os.environ.get("XDG_CACHE_HOME", "")
    # The specification: a relative path is invalid and to be ignored.
    base = Path(shared) if Path(shared).is_absolute() else Path.home() / ".cache"
    return base / "bucketlens"
