"""Lambda's Invoke API for the functions of the local stack: ``aws lambda invoke`` works as it does against AWS."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote

from bucketlens.local.emulator import FunctionError
from bucketlens.local.event_source import Function

MOUNT = "/2015-03-31/functions"
"""https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html"""


class LambdaApi:
    """A WSGI application. Invocations take turns on the functions, and wait while theirs is busy.

    Args:
        name: of the function, as the stack's output ``FunctionName`` gives it; its ARN does as well.
        functions: the running execution environments.
    """

    def __init__(self, name: str, functions: Sequence[Function]) -> None:
        self._name = name
        self._turns = itertools.cycle(functions)
        # Threads that stay: an emulator that has to be restarted ends with the thread that starts it.
        self._threads = ThreadPoolExecutor(len(functions), thread_name_prefix="invoke")

    def close(self) -> None:
        """Wait for the invocations that run."""
        self._threads.shutdown(cancel_futures=True)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        name, _, action = unquote(environ.get("PATH_INFO", "")).strip("/").partition("/")
        if (environ["REQUEST_METHOD"], action) != ("POST", "invocations") or name.rpartition(":")[2] != self._name:
            return _refuse(
                start_response, "404 Not Found", "ResourceNotFoundException", f"the only function is {self._name}"
            )
        if environ.get("HTTP_X_AMZ_INVOCATION_TYPE", "RequestResponse") != "RequestResponse":
            return _refuse(
                start_response, "400 Bad Request", "InvalidParameterValueException", "only RequestResponse is offered"
            )
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        try:
            event = json.loads(body or b"{}")
        except ValueError as error:
            return _refuse(start_response, "400 Bad Request", "InvalidRequestContentException", f"not JSON: {error}")
        headers = {"X-Amz-Executed-Version": "$LATEST"}
        try:
            answer = self._threads.submit(next(self._turns).invoke, event).result()
        except FunctionError as error:
            headers["X-Amz-Function-Error"] = "Unhandled"
            answer = {"errorMessage": error.reason, "errorType": error.type}
        return _json(start_response, "200 OK", headers, answer)


def _refuse(start_response: Callable[..., Any], status: str, kind: str, message: str) -> Iterable[bytes]:
    return _json(start_response, status, {"X-Amzn-ErrorType": kind}, {"Type": "User", "Message": message})


def _json(start_response: Callable[..., Any], status: str, headers: dict[str, str], document: Any) -> Iterable[bytes]:
    body = json.dumps(document).encode()
    all_headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    start_response(status, list(all_headers.items()))
    return [body]
