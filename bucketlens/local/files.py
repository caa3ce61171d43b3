"""The repository's files that the local stack reads: beside this module in an installed wheel, else in the checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import classifier

CHECKOUT: Final = Path(__file__).resolve().parents[2]


def _shipped(path: str) -> Path:
    packaged = Path(__file__).with_name(Path(path).name)
    return packaged if packaged.is_file() else CHECKOUT / path


TEMPLATE: Final = _shipped("template.yaml")
EMULATOR_REQUIREMENTS: Final = _shipped("requirements/rie.txt")
# What TEMPLATE calls the function's CodeUri. A wheel has no functions/ folder: there the package is installed.
FUNCTION_DIR: Final = Path(str(classifier.__file__)).resolve().parents[1]
