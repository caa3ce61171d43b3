"""Runs one handler in a process of its own, as Lambda does: ``python host.py FD CORE MODULE[:ATTRIBUTE]``.

FD is a socket to who measures. First a line is written to it when the module is imported, then for each line that is
read, an event and its request id, one with the answer, or with what was raised. Imports nothing of this project, so
that the handler may be of any source tree on PYTHONPATH.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
import time
from typing import Any

TIMEOUT_SECONDS = 900.0
"""The longest that Lambda gives an invocation."""


class Context:
    """Lambda's context object, as far as handlers here look at it."""

    def __init__(self, request_id: str) -> None:
        self.aws_request_id = request_id
        self._ends_at = time.monotonic() + TIMEOUT_SECONDS

    def get_remaining_time_in_millis(self) -> int:
        return int(1000 * (self._ends_at - time.monotonic()))


def main(descriptor: int, core: int, handler_name: str) -> None:
    """Serve events until there are no more."""
    if core >= 0:
        os.sched_setaffinity(0, {core})
    module_name, _, attribute = handler_name.partition(":")
    module = importlib.import_module(module_name)
    handler = getattr(module, attribute or "handler")
    with socket.socket(fileno=descriptor) as connection, connection.makefile("rwb", buffering=0) as stream:
        stream.write(b'{"ready": true}\n')
        for line in stream:
            request = json.loads(line)
            stream.write(json.dumps(_answer(handler, request)).encode() + b"\n")


def _answer(handler: Any, request: dict[str, Any]) -> dict[str, Any]:
    started = time.perf_counter()
    try:
        answer = handler(request["event"], Context(request["request_id"]))
    except Exception as error:  # noqa: BLE001 - whatever it is, who measures is to say it
        return {"error": f"{type(error).__name__}: {error}"}
    return {"answer": answer, "seconds": time.perf_counter() - started}


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
