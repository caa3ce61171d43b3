"""``python -m bucketlens.local.fetch_emulator``: puts the Lambda emulator beside this environment's Python."""

from __future__ import annotations

import sys

from rich.console import Console

from bucketlens.local.rie import installed_path, obtain
from classifier.errors import BucketlensError


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
