"""Runs the programs that sam-local is made of."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from classifier.errors import UserError

_SHOWN_LINES = 15


def run(
    command: Sequence[str | Path],
    *,
    purpose: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 900,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, output captured.

    Args:
        purpose: what the error calls it, such as "sam build".
        timeout: seconds.

    Raises:
        UserError: it is not there, took too long or failed; the message ends with the last lines it wrote.
    """
    done = attempt(command, env=env, cwd=cwd, timeout=timeout)
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).strip().splitlines()[-_SHOWN_LINES:]
        raise UserError(f"{purpose} failed (exit code {done.returncode}):\n" + "\n".join(f"  {line}" for line in lines))
    return done


def attempt(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 900,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, whatever that is; one that is not there or takes too long answers like a shell does."""
    words = [str(word) for word in command]
    try:
        return subprocess.run(
            words, env=env, cwd=cwd, timeout=timeout, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        return subprocess.CompletedProcess(words, 127, "", f"{words[0]}: {error.strerror}")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 124, "", f"{words[0]} took longer than {timeout:.0f} s")
