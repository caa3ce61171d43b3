"""S3, SQS, DynamoDB and CloudFormation on one port: moto's server in threads of this process.

Everything is in memory and gone when it stops. moto's state belongs to the process, so a process runs one at a time.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from typing import Any, Protocol

from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import BaseWSGIServer, make_server

from bucketlens.local import fidelity
from classifier.errors import UserError

_BACKLOG = 128
ANY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104 - recognised, not bound


class WsgiApplication(Protocol):
    """PEP 3333."""

    def __call__(self, environ: dict[str, Any], start_response: Any, /) -> Any: ...


class AtomicWrites:
    """Lets conditional writes through one at a time.

    moto checks a condition and then writes, with other threads in between; in DynamoDB and S3 that is one step, and
    both the order of predictions and the model's pointer rest on it. Plain uploads and reads stay concurrent.
    """

    def __init__(self, application: WsgiApplication) -> None:
        self._application = application
        self._dynamodb = threading.Lock()
        self._s3 = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        with self._turn(environ):
            return self._application(environ, start_response)

    def _turn(self, environ: dict[str, Any]) -> contextlib.AbstractContextManager[object]:
        if environ.get("HTTP_X_AMZ_TARGET", "").startswith("DynamoDB_"):
            return self._dynamodb
        conditional = "HTTP_IF_MATCH" in environ or "HTTP_IF_NONE_MATCH" in environ
        if conditional and environ.get("REQUEST_METHOD") in ("PUT", "POST", "DELETE"):
            return self._s3
        return contextlib.nullcontext()


class _Handler(MotoRequestHandler):
    # Header and body of a response are two writes: with Nagle's algorithm the second waits for a delayed ACK, 40 ms.
    disable_nagle_algorithm = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """No line a request: the terminal shows batches."""


class AwsServer:
    """The endpoints, from ``start()`` to ``stop()``.

    Args:
        host: the address to listen on; 0.0.0.0 for containers to reach it.
        port: 0 takes a free one.
    """

    _one_at_a_time = threading.Lock()

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._server: BaseWSGIServer | None = None
        self._thread: threading.Thread | None = None
        self._application: DispatcherMiddleware | None = None

    @property
    def port(self) -> int:
        return self._port

    @property
    def endpoint_url(self) -> str:
        """How clients on this machine reach it."""
        return f"http://{'127.0.0.1' if self._host in ANY_ADDRESS else self._host}:{self._port}"

    def mount(self, path: str, application: WsgiApplication) -> None:
        """Serve a WSGI application below ``path``, which must be one that no request to AWS has, until ``stop()``."""
        if self._application is None:
            raise RuntimeError("the local endpoints are not running")
        self._application.mounts[path] = application

    def start(self) -> None:
        """Raises UserError when the address cannot be listened on, RuntimeError for a second server in a process."""
        if not self._one_at_a_time.acquire(blocking=False):
            raise RuntimeError("this process already runs the local endpoints, and moto keeps its state in the process")
        try:
            with self._listen() as listening:
                self._port = listening.getsockname()[1]
                fidelity.install()
                moto_api_backend.reset()
                endpoints = AtomicWrites(DomainDispatcherApplication(create_backend_app))
                self._application = DispatcherMiddleware(endpoints)
                self._server = make_server(
                    self._host,
                    self._port,
                    self._application,
                    threaded=True,
                    request_handler=_Handler,
                    fd=listening.fileno(),
                )
            self._thread = threading.Thread(target=self._server.serve_forever, name="aws-endpoints", daemon=True)
            self._thread.start()
        except BaseException:
            self._one_at_a_time.release()
            raise

    def _listen(self) -> socket.socket:
        listening = socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET)
        # Connections of a previous run that linger in TIME_WAIT do not occupy the port; another listener does.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((self._host, self._port))
            listening.listen(_BACKLOG)
        except OSError as error:
            listening.close()
            if error.errno == errno.EADDRINUSE:
                raise UserError(
                    f"port {self._port} on {self._host} is taken: another `bucketlens local up` or program listens"
                    f" there; stop it, or choose another port with --port {self._port + 1}"
                ) from error
            raise UserError(f"cannot listen on {self._host}:{self._port}: {error.strerror or error}") from error
        except OverflowError as error:
            listening.close()
            raise UserError(f"{self._port} is not a port: give --port a number from 0 to 65535") from error
        return listening

    def stop(self) -> None:
        """Free the port and forget everything stored. Does nothing when not running."""
        if self._server is None:
            return
        self._server.shutdown()
        if self._thread is not None:
            self._thread.join()
        self._server.server_close()
        self._server = self._thread = self._application = None
        moto_api_backend.reset()
        self._one_at_a_time.release()
