"""The Docker daemon of this machine, as `docker` finds it: by DOCKER_HOST, its context, or its usual socket."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bucketlens.local.sam.process import attempt
from classifier.errors import UserError

HOST = "host.docker.internal"
"""This machine's name in a container, given with ``--add-host HOST:host-gateway``."""


@dataclass(frozen=True)
class Docker:
    """How to reach a daemon: the environment of every `docker` and `sam` that shall use it."""

    environment: dict[str, str]

    def __call__(self, *arguments: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return attempt(["docker", *arguments], env=self.environment, timeout=timeout)

    def require(self) -> None:
        """Raises UserError when no daemon answers."""
        if self("info").returncode != 0:
            raise UserError("no Docker daemon answers (`docker info` fails); start Docker, or set DOCKER_HOST")

    @staticmethod
    def endpoint(url: str) -> str:
        """A URL of a server on this machine, as a container reaches it."""
        return f"http://{HOST}:{urlsplit(url).port}"

    def gateway(self) -> str:
        """The host's address as containers see it: the default bridge's gateway; loopback for Docker Desktop."""
        answer = self("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
        address = answer.stdout.strip()
        if address:
            with contextlib.suppress(OSError), socket.socket() as probe:
                # Fails where containers live in a virtual machine, whose bridge is not this machine's.
                probe.bind((address, 0))
                return address
        return "127.0.0.1"
