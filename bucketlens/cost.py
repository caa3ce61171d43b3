"""What classifying images costs on AWS, term by term, at the list prices of :mod:`bucketlens.prices`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from bucketlens import prices
from bucketlens.throughput import Forecast
from classifier.records import ImageFacts, ModelIdentity, Result, ReviewReason

if TYPE_CHECKING:
    from classifier.model import Prediction

WRITE_UNIT_BYTES = 1024
TYPICAL_KEY_BYTES = 60
# The mean of ImageNet's.
_LABEL_BYTES = 20
_TOP_K = 5
# Most messages of one request to SQS. How Lambda deletes is not documented; as it receives, it is taken.
_SQS_BATCH = 10
# Lambda's lines START, END and REPORT of an invocation, with the 26 bytes that CloudWatch counts for each event.
_PLATFORM_LOG_BYTES = 66 + 46 + 190 + 3 * 26
# EventBridge charges by 64 KB. An event is some 250 bytes, and some 150 for each image beside its key.
_EVENT_BYTES, _EVENT_IMAGE_BYTES, _EVENT_CHUNK = 250, 150, 64 * 1024


@dataclass(frozen=True)
class Term:
    """A part of the bill.

    Attributes:
        quantity: of ``unit``, for the whole job.
    """

    name: str
    quantity: float
    unit: str
    dollars: float


class _Best(NamedTuple):
    """As ``classifier.model.Prediction``, which cannot be imported without an interpreter."""

    label: str
    confidence: float


def terms(forecast: Forecast, *, key_bytes: int = TYPICAL_KEY_BYTES, publish_events: bool = False) -> list[Term]:
    """What a job costs. Not counted: storage, metrics, alarms and the dashboard, which cost by the month.

    Args:
        key_bytes: length of the images' keys, for the size of events.
        publish_events: whether the parameter PublishEvents is on.
    """
    return list(_terms(forecast, key_bytes, publish_events))


def _terms(forecast: Forecast, key_bytes: int, publish_events: bool) -> Iterator[Term]:
    job, usage, invocations = forecast.job, forecast.usage, forecast.invocations
    gigabytes = job.memory / 1024
    running = math.ceil(forecast.invocation_seconds * 1000) / 1000 * invocations * gigabytes
    starting = math.ceil(forecast.start_seconds * 1000) / 1000 * forecast.functions * gigabytes

    def term(name: str, quantity: float, unit: str, price: float) -> Term:
        return Term(name, quantity, unit, quantity * price)

    yield term("Lambda: duration", running, "GB-seconds", prices.LAMBDA_GB_SECOND)
    yield term("Lambda: INIT", starting, "GB-seconds", prices.LAMBDA_GB_SECOND)
    yield term("Lambda: requests", invocations, "invocations", prices.LAMBDA_REQUEST)
    yield term("S3: GET", job.images, "requests", prices.S3_READ)
    yield term("S3: PUT", invocations if job.is_lines else job.images, "requests", prices.S3_WRITE)
    # Sent one by one by S3, received and deleted by tens.
    requests = job.images * (1 + 2 / min(_SQS_BATCH, job.batch))
    yield term("SQS: send, receive, delete", requests, "requests", prices.SQS_REQUEST)
    for name, share in (("table", 1.0), ("index by-label", 1.0), ("index attention", job.attention)):
        yield term(f"DynamoDB: {name}", job.images * share * job.write_units, "write units", prices.DYNAMODB_WRITE)
    logged = job.images * usage.log_bytes + invocations * (usage.invocation_log_bytes + _PLATFORM_LOG_BYTES)
    yield Term("CloudWatch: logs", logged / 2**30, "GB", logged * prices.LOGS_BYTE)
    if publish_events:
        size = _EVENT_BYTES + job.batch * (_EVENT_IMAGE_BYTES + key_bytes)
        events = invocations * math.ceil(size / _EVENT_CHUNK)
        yield term("EventBridge: events", events, "64 KB", prices.EVENTBRIDGE_EVENT)


def write_units(key_bytes: int, mode: str, label_bytes: int = _LABEL_BYTES) -> int:
    """Write units of the table for an item that the function writes, to be reviewed and with five labels."""
    return math.ceil(item_bytes(typical_item(key_bytes, mode, label_bytes)) / WRITE_UNIT_BYTES)


def typical_item(key_bytes: int, mode: str, label_bytes: int = _LABEL_BYTES) -> dict[str, Any]:
    """An item as the function writes it, of a stack with the template's default names.

    Args:
        key_bytes: length of the image's key, ``incoming/`` included.
        label_bytes: length of each of the five best labels.
    """
    bucket, request_id = "bucketlens-123456789012-us-east-1", "0" * 36
    relative = "k" * max(1, key_bytes - len("incoming/"))
    document = f"dt=2026-11-20/120000000000-{request_id}.jsonl" if mode == "jsonl" else f"{relative}.json"
    result = Result(
        image=ImageFacts(bucket, f"incoming/{relative}", None, "0" * 32, 1234567, "JPEG", 4000, 3000),
        model=ModelIdentity("mobilenet_v2", "20261120T101500Z-5d313724", "0" * 64),
        classified_at="2026-11-20T12:00:00.123Z",
        request_id=request_id,
        top=cast("tuple[Prediction, ...]", (_Best("l" * label_bytes, 0.8203),) * _TOP_K),
        review_reason=ReviewReason.CONFIDENCE,
        novelty=0.9734,
    )
    return dict(result.to_item(sequencer="0055AED6DCD90281E5", output_uri=f"s3://{bucket}/predictions/{document}"))


def item_bytes(item: Mapping[str, Any]) -> int:
    """The size of an item in DynamoDB's attribute-value form, by the documented rule.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def _value_bytes(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            digits = content.lstrip("-").replace(".", "").strip("0")
            return (len(digits) + 1) // 2 + 1
        case "BOOL" | "NULL":
            return 1
        case "L":
            return 3 + sum(1 + _value_bytes(element) for element in content)
        case "M":
            return 3 + sum(1 + len(name.encode()) + _value_bytes(element) for name, element in content.items())
    raise ValueError(f"an attribute of type {kind} is not among those of our items")
