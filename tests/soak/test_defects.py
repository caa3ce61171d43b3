"""The simulation finds what it is there for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak.defects import DEFECTS, Defect

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
SEEDS = 1500


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_every_defect_is_found(defect: Defect, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(defect.plant(tmp_path))}
    command = [sys.executable, "-m", "tests.soak", "--seeds", str(SEEDS), "--jobs", "1"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert run.returncode == 1, run.stdout + run.stderr
    assert "replay" in run.stdout, run.stdout + run.stderr
