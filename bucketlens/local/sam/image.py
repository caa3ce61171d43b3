"""The base image of the function: the real one where it can be pulled, else a stand-in made of Debian packages."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from rich.console import Console

from bucketlens.local.sam.daemon import Docker
from bucketlens.local.sam.process import attempt, run
from bucketlens.local.sam.tool import SamTool
from classifier.errors import UserError

# The name `sam local invoke` looks for, and the one it gives the image to which it has added the emulator.
_IMAGE = "public.ecr.aws/lambda/python:3.13"
_SAM_IMAGE = f"{_IMAGE}-x86_64"
_WITH_EMULATOR = f"{_IMAGE}-rapid-x86_64"
_LABEL = "bucketlens.stand-in"
# The Debian release that has Python 3.13.
_RELEASE = "trixie"
_PACKAGES = "python3,ca-certificates,libstdc++6,coreutils,dash,base-files"
_FILES = Path(__file__).parent / "image"
_RUNTIME = Path(__file__).parent / "runtime.txt"


def ensure_image(docker: Docker, tool: SamTool, console: Console) -> str:
    """Make sure that the image is there; return in words which one it is.

    Raises:
        UserError: it can neither be pulled nor made.
    """
    label = docker("image", "inspect", _SAM_IMAGE, "--format", f'{{{{index .Config.Labels "{_LABEL}"}}}}')
    if label.returncode == 0 and label.stdout.strip() in ("", "<no value>"):
        return "the real Lambda image"
    if label.returncode == 0 and label.stdout.strip() == _fingerprint():
        return "a Debian stand-in for the Lambda image"
    if label.returncode != 0 and _pull(docker, console):
        return "the real Lambda image"
    console.print("The Lambda image cannot be pulled; making a Debian stand-in (half a minute, once) ...")
    _make(docker, tool)
    return "a Debian stand-in for the Lambda image"


def _pull(docker: Docker, console: Console) -> bool:
    console.print(f"Pulling {_SAM_IMAGE} ...")
    return docker("pull", "--quiet", "--platform", "linux/amd64", _SAM_IMAGE).returncode == 0


def _make(docker: Docker, tool: SamTool) -> None:
    mirror = _mirror()
    if not shutil.which("mmdebstrap"):
        if os.geteuid() != 0:
            raise UserError("the stand-in image needs mmdebstrap: install it (apt-get install mmdebstrap)")
        quiet = {**docker.environment, "DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "update", "-qq"], purpose="apt-get update", env=quiet)
        install = ["apt-get", "install", "-y", "--no-install-recommends", "mmdebstrap"]
        run(install, purpose="installing mmdebstrap", env=quiet)
    with tempfile.TemporaryDirectory(prefix="bucketlens-image-") as name:
        folder = Path(name)
        shutil.copytree(_FILES, folder, dirs_exist_ok=True)
        bootstrap: list[str | Path] = ["mmdebstrap", "-q", "--variant=extract", f"--include={_PACKAGES}"]
        bootstrap += ["--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", "--dpkgopt=path-exclude=/usr/share/doc/*"]
        run([*bootstrap, _RELEASE, folder / "root.tar", mirror], purpose="mmdebstrap")
        options = "-m pip install -qq --disable-pip-version-check --require-hashes --only-binary=:all:"
        options += " --python-version 3.13 --implementation cp --ignore-requires-python"
        options += " --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64"
        client: list[str | Path] = [tool.pip_python, *options.split(), "--target", folder / "runtime", "-r", _RUNTIME]
        run(client, purpose="installing the Lambda runtime client")
        label = f"{_LABEL}={_fingerprint()}"
        built = docker("build", "--quiet", "--label", label, "--tag", _IMAGE, "--tag", _SAM_IMAGE, folder)
    if built.returncode != 0:
        raise UserError(f"building the stand-in image failed: {built.stderr.strip()}")
    # SAM's own image lies on top of the one just replaced.
    docker("image", "rm", "--force", _WITH_EMULATOR)


def _mirror() -> str:
    """The Debian mirror that this machine's apt is configured with.

    Raises:
        UserError: it has none (not Debian).
    """
    listed = attempt(["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(RELEASE)|$(REPO_URI)"])
    for line in listed.stdout.splitlines():
        origin, label, release, uri = line.split("|", 3)
        # Not bookworm-updates nor bookworm-security: they are no mirror of a whole release.
        if origin == label == "Debian" and "-" not in release:
            return uri
    raise UserError(
        "the Lambda image cannot be pulled, and its stand-in needs a Debian mirror: this machine's apt knows none"
    )


def _fingerprint() -> str:
    """Names everything the stand-in is made of, so that a change of any makes it anew."""
    digest = hashlib.sha256(f"{_RELEASE} {_PACKAGES}".encode())
    for path in (_RUNTIME, *sorted(_FILES.iterdir())):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
