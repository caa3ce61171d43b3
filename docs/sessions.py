"""Writes the output of `bucketlens` commands in a page's console blocks anew: `python docs/sessions.py PAGE`."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from typer.testing import CliRunner

from bucketlens.cli.main import app

_BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.DOTALL | re.MULTILINE)


def renewed(page: str) -> str:
    """The page, in Markdown, with what its commands print now."""
    return _BLOCK.sub(lambda block: "".join(map(_session, re.findall(r"^\$ (.*)", block[0], re.MULTILINE))), page)


def _session(command: str) -> str:
    done = CliRunner().invoke(app, shlex.split(command)[1:], catch_exceptions=False)
    return f"$ {command}\n{done.output}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")
