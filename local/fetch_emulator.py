"""``python -m local.fetch_emulator``: puts the Lambda Runtime Interface Emulator beside this environment's Python."""

from __future__ import annotations

import sys

from rich.console import Console

from classifier.errors import BucketlensError
from local.rie import installed_path, obtain


def main() -> int:
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    destination = installed_path()
    try:
        fetched = obtain(destination)
    except BucketlensError as error:
        console.print(f"error: {error}")
        return 1
    console.print(f"{'fetched' if fetched else 'already there:'} {destination}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
