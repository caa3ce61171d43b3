"""What to tell people whose environment lacks an optional dependency."""

from __future__ import annotations

from typing import Final

EXTRAS: Final = (
    "run `make setup` in a checkout and use .venv/bin/bucketlens, or install the wheel file with its extras:"
    " pip install 'PATH/TO/bucketlens-VERSION-py3-none-any.whl[build,local]'"
)
