"""The answer to S3 Batch Operations: what became of each task (S3 User Guide, "Invoke AWS Lambda function").

``Succeeded``: the image is classified, or the task is not for us; ``PermanentFailure``: it is rejected, which is
recorded as its result all the same, or names no object; ``TemporaryFailure``: S3 is to try again. The completion report
shows the result string beside each task, except that of a temporary failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from classifier.events import Batch
from classifier.processor import Outcome, OutcomeStatus

_SUCCEEDED, _TEMPORARY, _PERMANENT = "Succeeded", "TemporaryFailure", "PermanentFailure"


def task_results(event: Mapping[str, Any], batch: Batch, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The response, in the schema version of the request: 1.0 and 2.0 differ in the request alone."""
    by_task = {outcome.image.task_id: outcome for outcome in outcomes}
    results = []
    for task_id, skip in batch.tasks.items():
        if task_id in batch.unreadable:
            code, text = _PERMANENT, batch.unreadable[task_id]
        elif skip is not None:
            code, text = _SUCCEEDED, f"skipped: {skip}"
        else:
            code, text = _judged(by_task[task_id])
        results.append({"taskId": task_id, "resultCode": code, "resultString": text})
    return {
        "invocationSchemaVersion": event["invocationSchemaVersion"],
        # Never the case; and if it were, trying again loses nothing.
        "treatMissingKeysAs": _TEMPORARY,
        "invocationId": event.get("invocationId"),
        "results": results,
    }


def _judged(outcome: Outcome) -> tuple[str, str]:
    result = outcome.result
    if outcome.status.to_be_retried:
        return _TEMPORARY, f"{outcome.error.code}: {outcome.error}" if outcome.error else str(outcome.status)
    if result is not None and result.error is not None:
        return _PERMANENT, f"{result.error.code}: {result.error.message}"
    if result is not None and outcome.status is OutcomeStatus.CLASSIFIED:
        return _SUCCEEDED, f"{result.top[0].label} {result.top[0].confidence:.4f}"
    return _SUCCEEDED, str(outcome.status)
