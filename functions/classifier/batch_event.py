"""Tells EventBridge what became of a batch (parameter ``PublishEvents``); docs/batch-event.schema.json is its schema.

The table is the truth, and an event only an announcement: it is sent once, after everything is recorded, and its loss
fails nothing. A function that dies in between sends none.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from classifier.aws import EVENTS_SECONDS
from classifier.aws_calls import AwsError
from classifier.json_api import EventBridge
from classifier.processor import Outcome, OutcomeStatus

SCHEMA_VERSION = "1"
SOURCE = "bucketlens"
DETAIL_TYPE = "Batch Classified"
# EventBridge User Guide, "PutEvents entry size": 256 KB with source and detail type.
_MOST_BYTES = 250_000


class BatchEventPublisher:
    """Sends one event a batch.

    Args:
        stack: named in each event.
        connect: makes the client when it is first needed.
    """

    def __init__(self, stack: str, connect: Callable[[], EventBridge]) -> None:
        self._stack = stack
        self._connect = connect
        self._client: EventBridge | None = None

    def publish(self, outcomes: Sequence[Outcome], request_id: str, time_left: float) -> str | None:
        """Send the event of a batch, unless it has no results.

        Args:
            time_left: seconds that the invocation has for it.

        Returns:
            Why it was not sent; None when it was, or when there is none.
        """
        detail = batch_detail(outcomes, self._stack, request_id)
        if detail is None:
            return None
        if time_left < EVENTS_SECONDS:
            return "the invocation's time was up"
        entry = {"Source": SOURCE, "DetailType": DETAIL_TYPE, "Detail": detail}
        try:
            if self._client is None:
                self._client = self._connect()
            answer = self._client.put_events(Entries=[entry])
        except AwsError as error:
            return str(error)
        if answer.get("FailedEntryCount"):
            refused = answer["Entries"][0]
            return f"{refused.get('ErrorCode')}: {refused.get('ErrorMessage')}"
        return None


def batch_detail(outcomes: Sequence[Outcome], stack: str, request_id: str) -> str | None:
    """The event's ``detail`` as JSON text of at most 250,000 bytes; None for a batch in which nothing was recorded."""
    recorded = [one for one in outcomes if one.result is not None or one.status is OutcomeStatus.REMOVED]
    if not recorded:
        return None
    models = [one.result.model for one in recorded if one.result is not None]
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "stack": stack,
        "request_id": request_id,
        "images": {str(status): count for status, count in sorted(Counter(one.status for one in outcomes).items())},
        **({"model": asdict(models[0])} if models else {}),
        "results": [],
        "results_omitted": 0,
    }
    room = _MOST_BYTES - len(_json(document).encode())
    for outcome in recorded:
        described = _described(outcome)
        room -= len(_json(described).encode()) + 1
        if room < len(str(len(recorded))):
            document["results_omitted"] = len(recorded) - len(document["results"])
            break
        document["results"].append(described)
    return _json(document)


def _described(outcome: Outcome) -> dict[str, Any]:
    described: dict[str, Any] = {"image_uri": outcome.image.uri, "status": str(outcome.status)}
    result = outcome.result
    if result is None:
        return described
    if result.error is not None:
        return {**described, "error_code": result.error.code}
    best = result.to_document()["prediction"]
    told = ("label", "confidence", "needs_review", "review_reason", "novelty")
    return {**described, **{name: best[name] for name in told if name in best}}


def _json(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
