"""The HTTP API on this machine: the API's function in a server process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from bucketlens.local.emulator import STOP_SECONDS, function_variables, leash, wait_until_listening
from bucketlens.local.server import ANY_ADDRESS
from classifier.errors import UserError

_MODULE = Path("classifier") / "http_server.py"


def is_served_by(function_dir: Path) -> bool:
    """Whether a function's code has the server; a function of one's own need not."""
    return (function_dir / _MODULE).is_file()


class HttpApi:
    """Runs ``python -m classifier.http_server``.

    Args:
        function_dir: the function's code.
        environment: its variables, as the template declares them.
        log: takes what it writes.

    It ends with the thread that starts it, even one killed with its whole process.
    """

    def __init__(
        self,
        function_dir: Path,
        environment: Mapping[str, str],
        memory_mb: int,
        *,
        host: str,
        port: int,
        log: Path,
        python: Path | None = None,
    ) -> None:
        self._function_dir = function_dir.absolute()
        self._environment = dict(environment)
        self._memory_mb = memory_mb
        self._host = host
        self._port = port
        self._log = log
        self._python = Path(sys.executable) if python is None else python.absolute()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it listens.

        Raises:
            UserError: the port is taken, or the server does not start.
        """
        try:
            socket.create_server((self._host, self._port)).close()
        except OSError as error:
            raise UserError(
                f"port {self._port} on {self._host} cannot be used for the HTTP API ({error.strerror}); choose another"
                " with --http-port"
            ) from error
        command = [*leash(sys.executable), str(self._python), "-m", "classifier.http_server"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--host", self._host, "--port", str(self._port)],
                cwd=self._function_dir,
                env=function_variables(self._environment, self._memory_mb),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if not wait_until_listening(
            self._process, self._port, self._host if self._host not in ANY_ADDRESS else "127.0.0.1"
        ):
            self.stop()
            said = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
            reason = said[-1].removeprefix("error: ") if said else "it does not listen"
            raise UserError(f"the HTTP API does not start: {reason}; see {self._log}")

    def stop(self) -> None:
        """End the server. Does nothing when not running."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_SECONDS)
