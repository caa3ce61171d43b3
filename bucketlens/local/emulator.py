"""One Lambda execution environment: the real runtime client under the AWS Lambda Runtime Interface Emulator.

How the emulator answers is not documented; it was measured: a handler's exception is a 200 with ``errorMessage``, a
timeout a 200 with plain text, a crash or a failed import a 502, and two requests at once crash it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from bucketlens.local.constants import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from bucketlens.local.rie import find_emulator
from classifier.errors import BucketlensError, UserError

INVOKE_PATH = "/2015-03-31/functions/function/invocations"
_START_SECONDS = 20.0
_STARTS = 3
STOP_SECONDS = 10.0
# The emulator ends the function at its timeout; this is for it to say so, after a slow shutdown of the function.
_GRACE_SECONDS = 15.0
_LEASH = Path(__file__).with_name("leash.py")


class FunctionError(BucketlensError):
    """The function answered with an error, timed out or crashed.

    Attributes:
        type: the exception's name, such as ``ModelUnavailable``, or ``Sandbox.Timedout``, ``Runtime.ExitError``.
        reason: its message.
    """

    code = "function.failed"

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(f"{kind}: {reason}" if reason else kind)
        self.type = kind
        self.reason = reason


class Emulator:
    """Runs one function; one request at a time, as in Lambda.

    Args:
        function_dir: its code, as Lambda would find it in its task root.
        environment: its variables, as the template declares them. Nothing of this process's environment reaches it.
        timeout_seconds: its timeout; initialisation counts, unlike on Lambda.
        memory_mb: what it is told; not enforced.
        python: the interpreter to run it; needs awslambdaric and the function's requirements.
        log: takes what the function writes. None discards it.

    It ends with the thread that starts it, even one killed with its whole process.
    """

    def __init__(
        self,
        function_dir: Path,
        environment: Mapping[str, str],
        timeout_seconds: int,
        memory_mb: int,
        *,
        handler: str = "classifier.app.handler",
        name: str = "ClassifierFunction",
        python: Path | None = None,
        log: Path | None = None,
    ) -> None:
        self._function_dir = function_dir.absolute()
        self._environment = dict(environment)
        self._timeout_seconds = timeout_seconds
        self._memory_mb = memory_mb
        self._handler = handler
        self._name = name
        # Not resolved: the link in a virtual environment is what makes it that environment's.
        self._python = Path(sys.executable) if python is None else python.absolute()
        self._log = log
        self._one_request = threading.Lock()
        self._lifecycle = threading.Lock()
        self._running = False
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def start(self) -> None:
        """Start the emulator; the function itself initialises with the first event.

        Raises:
            UserError: there is no emulator, no code or no Python, or it does not start.
        """
        with self._lifecycle:
            self._running = True
            self._revive()

    def invoke(self, event: object) -> Any:
        """Send one event and return what the handler returned. Restarts an emulator that has died.

        Raises:
            FunctionError: see there; the next call works again, unless ``stop()`` was called.
        """
        with self._one_request:
            with self._lifecycle:
                self._revive()
            try:
                status, body = self._post(json.dumps(event).encode())
            except TimeoutError as error:
                with self._lifecycle:
                    self._end()
                raise FunctionError("Sandbox.Timedout", f"no answer in {self._timeout_seconds} s") from error
            except (OSError, http.client.HTTPException) as error:
                raise FunctionError("Runtime.ExitError", f"the function's process ended ({error!r})") from error
        return parse_answer(status, body)

    def stop(self) -> None:
        """End the emulator and the function, and whatever they are doing."""
        with self._lifecycle:
            self._running = False
            self._end()
            if self._temporary is not None:
                self._temporary.cleanup()
                self._temporary = None

    def _revive(self) -> None:
        if not self._running:
            raise FunctionError("Runtime.Stopped", "the emulator is not running")
        if self._process is not None and self._process.poll() is None:
            return
        emulator = find_emulator()
        if not self._function_dir.is_dir():
            raise UserError(f"the function's folder {self._function_dir} does not exist")
        if not os.access(self._python, os.X_OK):
            raise UserError(f"{self._python} is not an executable Python")
        if subprocess.run([self._python, "-c", "import awslambdaric"], capture_output=True, check=False).returncode:
            raise UserError(f"{self._python} lacks Lambda's runtime client; install awslambdaric into its environment")
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="bucketlens-function-")
        for _ in range(_STARTS):
            if self._launch(emulator, Path(self._temporary.name)):
                return
            self._end()
        where = f"; see {self._log}" if self._log else ""
        raise UserError(f"the Lambda emulator {emulator} does not start{where}")

    def _launch(self, emulator: Path, temporary: Path) -> bool:
        self._port, runtime_port = free_ports(2)
        command = [
            *leash(sys.executable),
            str(emulator),
            "--log-level",
            "error",
            "--runtime-interface-emulator-address",
            f"127.0.0.1:{self._port}",
            "--runtime-api-address",
            f"127.0.0.1:{runtime_port}",
            # The emulator puts the function in a process group of its own, out of reach for a signal to this one.
            *leash(str(self._python)),
            str(self._python),
            "-m",
            "awslambdaric",
            self._handler,
        ]
        with self._open_log() as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._function_dir,
                env=self._variables(temporary),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return wait_until_listening(self._process, self._port)

    def _open_log(self) -> IO[bytes]:
        if self._log is None:
            return Path(os.devnull).open("wb")
        self._log.parent.mkdir(parents=True, exist_ok=True)
        return self._log.open("ab")

    def _variables(self, temporary: Path) -> dict[str, str]:
        return {
            # Lambda gives each execution environment a /tmp of its own.
            "TMPDIR": str(temporary),
            "LAMBDA_TASK_ROOT": str(self._function_dir),
            "AWS_LAMBDA_FUNCTION_NAME": self._name,
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(self._timeout_seconds),
            **function_variables(self._environment, self._memory_mb),
        }

    def _post(self, event: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=self._timeout_seconds + _GRACE_SECONDS)
        try:
            connection.request("POST", INVOKE_PATH, event, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _end(self) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        # Nothing to save: Lambda ends environments without a word, too. The function dies by its leash.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_SECONDS)


def leash(python: str) -> list[str]:
    """The beginning of a command that is to end with this thread."""
    return [python, "-I", "-S", str(_LEASH)]


def function_variables(environment: Mapping[str, str], memory_mb: int) -> dict[str, str]:
    """The environment of a function's process, with its own variables."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TZ": ":UTC",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mb),
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        # A stray metadata service or a config file must not be asked for credentials.
        "AWS_EC2_METADATA_DISABLED": "true",
        **environment,
    }


def wait_until_listening(process: subprocess.Popen[bytes], port: int, host: str = "127.0.0.1") -> bool:
    """Whether a process comes to listen on a port of this machine."""
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            # Also the interval between two looks: returns early when the process ends.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.02)
        else:
            return True
    return False


def parse_answer(status: int, body: bytes) -> Any:
    """The handler's return value out of the emulator's answer.

    Raises:
        FunctionError: the answer says that there is none.
    """
    text = body.decode("utf-8", errors="replace").strip()
    if status != http.client.OK:
        kind, reason = _error_fields(text) or ("Runtime.ExitError", text or f"HTTP {status}")
        raise FunctionError(kind, reason)
    try:
        answer = json.loads(text) if text else None
    except json.JSONDecodeError as error:
        kind = "Sandbox.Timedout" if "Task timed out" in text else "Runtime.InvalidResponse"
        raise FunctionError(kind, text) from error
    if (fields := _error_fields(text)) is not None:
        raise FunctionError(*fields)
    return answer


def _error_fields(text: str) -> tuple[str, str] | None:
    try:
        answer = json.loads(text)
    except json.JSONDecodeError:
        return None
    if not isinstance(answer, dict) or "errorMessage" not in answer:
        return None
    return str(answer.get("errorType") or "Runtime.Unknown"), str(answer["errorMessage"])


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that are free now, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
