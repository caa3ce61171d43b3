"""A queue and a function in memory, handed to the event source in place of the real ones."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import Any


def message(identifier: str, body: str = "{}", receive_count: int = 1) -> Any:
    """A message as ReceiveMessage gives it."""
    return {
        "MessageId": identifier,
        "ReceiptHandle": f"handle-of-{identifier}",
        "Body": body,
        "MD5OfBody": hashlib.md5(body.encode()).hexdigest(),
        "Attributes": {
            "ApproximateReceiveCount": str(receive_count),
            "SentTimestamp": "1763629200000",
            "SenderId": "AIDAEXAMPLE",
            "ApproximateFirstReceiveTimestamp": "1763629200001",
        },
    }


class FakeQueue:
    """An SQS client over a list; a message that was received is not seen again."""

    def __init__(self, messages: list[Any]) -> None:
        self.waiting = list(messages)
        self.asked: list[int] = []
        self.deleted: list[str] = []
        self.shown_again: dict[str, int] = {}
        self.receivers = 0
        self.most_receivers = 0
        self._lock = threading.Lock()
        self._never = threading.Event()

    def receive_message(self, **arguments: Any) -> dict[str, Any]:
        with self._lock:
            self.receivers += 1
            self.most_receivers = max(self.most_receivers, self.receivers)
            self.asked.append(arguments["MaxNumberOfMessages"])
            received = self.waiting[: arguments["MaxNumberOfMessages"]]
            del self.waiting[: len(received)]
        if not received and arguments["WaitTimeSeconds"]:
            self._never.wait(0.05)
        with self._lock:
            self.receivers -= 1
        return {"Messages": received} if received else {}

    def delete_message_batch(self, **arguments: Any) -> dict[str, Any]:
        assert 1 <= len(arguments["Entries"]) <= 10
        with self._lock:
            self.deleted += [entry["ReceiptHandle"].removeprefix("handle-of-") for entry in arguments["Entries"]]
        return {}

    def change_message_visibility_batch(self, **arguments: Any) -> dict[str, Any]:
        assert 1 <= len(arguments["Entries"]) <= 10
        for entry in arguments["Entries"]:
            self.shown_again[entry["ReceiptHandle"].removeprefix("handle-of-")] = entry["VisibilityTimeout"]
        return {}


class FakeFunction:
    """A function whose handler is ``answer``."""

    def __init__(self, answer: Callable[[Any], Any] = lambda event: None) -> None:
        self._answer = answer
        self.started = 0
        self.stopped = 0

    def start(self) -> None:
        self.started += 1

    def invoke(self, event: Any) -> Any:
        return self._answer(event)

    def stop(self) -> None:
        self.stopped += 1


class CannotStart(FakeFunction):
    def start(self) -> None:
        raise OSError("no such emulator")
