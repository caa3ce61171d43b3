"""Small functions that run under the real emulator, and waiting with a deadline."""

from __future__ import annotations

import os
import select
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from bucketlens.local.rie import find_emulator
from bucketlens.local.stack import LocalStack
from classifier.errors import UserError

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "template.yaml"
DEADLINE = 60


def missing_emulator() -> str:
    """Why the emulator cannot be used; empty when it can."""
    try:
        find_emulator()
    except UserError as error:
        return str(error)
    return ""


needs_emulator = pytest.mark.skipif(bool(missing_emulator()), reason=f"NOT TESTED: {missing_emulator()}")


def function_folder(folder: Path, code: str) -> Path:
    """A function with the classifier's handler name, for the real template to run."""
    package = folder / "classifier"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "app.py").write_text(textwrap.dedent(code), encoding="utf-8")
    return folder


def wait_for(stack: LocalStack, condition: Callable[[], bool], seconds: float = DEADLINE) -> None:
    """Until the condition holds; fails with the stack's own error, or when the time is over."""
    for _ in range(int(seconds / 0.1)):
        if condition():
            return
        stack.wait(0.1)
    pytest.fail(f"not so within {seconds} s")


def wait_for_end(pid: int, seconds: float = DEADLINE) -> bool:
    """Whether a process, not necessarily a child, has ended within the time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        ready, _, _ = select.select([descriptor], [], [], seconds)
        return bool(ready)
    finally:
        os.close(descriptor)
