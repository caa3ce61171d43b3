"""The code that a script-mode container runs: ``sourcedir.tar.gz``, the same bytes for the same code."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import classifier
import model_build

PROGRAM = "train.py"

# At the root, so that Python finds the packages beside it whatever the container's working folder is.
_PROGRAM = b"""from model_build.sagemaker.entry_point import main

if __name__ == "__main__":
    raise SystemExit(main())
"""

# What the packages import and a TensorFlow container lacks or has in another version; the toolkit installs it.
# TensorFlow and NumPy stay those of the container, which fit its GPU.
_REQUIREMENTS = ("ai-edge-litert", "matplotlib", "pillow")


@dataclass(frozen=True)
class SourceDir:
    """The archive, and a name that changes with its content."""

    data: bytes

    @property
    def key(self) -> str:
        """Where to put it below an S3 prefix."""
        return f"code/{hashlib.sha256(self.data).hexdigest()[:16]}/sourcedir.tar.gz"


def build() -> SourceDir:
    """Archive ``model_build`` and ``classifier`` as installed here, the program and its requirements."""
    files = {PROGRAM: _PROGRAM, "requirements.txt": requirements().encode()}
    for package in (classifier, model_build):
        root = Path(next(iter(package.__path__)))
        for path in root.rglob("*.py"):
            files[f"{root.name}/{path.relative_to(root).as_posix()}"] = path.read_bytes()
    buffer = io.BytesIO()
    # No times and no owners: the name of the archive tells whether the code has changed.
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", filename="", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, data in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            archive.addfile(member, io.BytesIO(data))
    return SourceDir(buffer.getvalue())


def requirements() -> str:
    """requirements.txt, pinned to what is installed here."""
    return "".join(f"{name}=={version(name)}\n" for name in _REQUIREMENTS)
