"""The handler as Lambda calls it: every event file, partial batches, cold start, what fails."""

from __future__ import annotations

import importlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from classifier.bundle import ModelUri
from classifier.errors import (
    ConfigError,
    ModelUnavailable,
    OutOfTime,
    StorageUnavailable,
    UserError,
)
from classifier.loader import BundleLoader
from classifier.serving import ServedModel
from tests.conftest import BUCKET, ROOT, TABLE, Aws
from tests.support.bundles import FIXTURES, bundle_files, manifest_for, publish
from tests.support.clients import Interposed
from tests.support.images import png
from tests.support.pools import start_bundle

pytestmark = pytest.mark.slow

EVENTS = sorted(path for path in (ROOT / "events").glob("*.json") if not path.name.startswith("env."))
EXPECTED = {
    "direct": {"green.jpg": "green"},
    "eventbridge-object-created": {"blue.webp": "blue"},
    "model-query": {},
    "s3-batch-operations-1.0": {"grüne wiese + himmel.jpg": "green"},
    "s3-batch-operations-2.0": {"truncated.jpg": "image.corrupt"},
    "s3-put": {"red.png": "red"},
    "s3-removed": {},
    "s3-test-event": {},
    "sqs-s3-batch": {
        "red.png": "red",
        "green.jpg": "green",
        "grüne wiese + himmel.jpg": "green",
        "truncated.jpg": "image.corrupt",
    },
}


@dataclass
class Context:
    aws_request_id: str = "request-1"
    remaining_ms: int = 60_000

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


class Late(Context):
    """Leaves time to the caller and to the first of the threads that run images, and none to the others."""

    def __init__(self) -> None:
        self._threads: list[int] = []

    def get_remaining_time_in_millis(self) -> int:
        thread = threading.get_ident()
        if thread not in self._threads:
            self._threads.append(thread)
        return 60_000 if thread in self._threads[:2] else 1


Handler = Callable[[Any, Context], dict[str, Any]]


def served(aws: Aws, clock: Callable[[], float], s3: Any = None, uri: str = "") -> ServedModel:
    loader = BundleLoader(ModelUri.parse(uri or f"s3://{BUCKET}/models/"), s3 or aws.function_s3)
    return ServedModel(loader, start_bundle, golden_test=True, clock=clock)


@pytest.fixture
def start(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Handler]:
    """Starts the function anew, as a cold start does: its module is imported under an environment."""

    def cold_start(**environment: str) -> Handler:
        defaults = {
            "MODEL_URI": f"s3://{BUCKET}/models/",
            "TABLE_NAME": TABLE,
            "AWS_ENDPOINT_URL": aws.endpoint_url,
            # More than usual: this process is larger than the function, and what it takes is left out of the sharing.
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "10240",
        }
        for name, value in {**defaults, **environment}.items():
            monkeypatch.setenv(name, value)
        sys.modules.pop("classifier.app", None)
        handler: Handler = importlib.import_module("classifier.app").handler
        return handler

    return cold_start


@pytest.fixture
def sqs_client(aws: Aws) -> Iterator[Any]:
    client = boto3.session.Session().client("sqs", endpoint_url=aws.endpoint_url)
    yield client
    client.close()


def logged(caplog: pytest.LogCaptureFixture, message: str) -> list[Any]:
    return [record for record in caplog.records if record.getMessage() == message]


def sqs(*bodies: Any) -> dict[str, Any]:
    records = [
        {
            "eventSource": "aws:sqs",
            "messageId": f"m{index}",
            "body": body if isinstance(body, str) else json.dumps(body),
        }
        for index, body in enumerate(bodies)
    ]
    return {"Records": records}


def notification(key: str, sequencer: str = "0A") -> dict[str, Any]:
    stored = {"bucket": {"name": BUCKET}, "object": {"key": key, "sequencer": sequencer}}
    return {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": stored}]}


def test_every_event_file_is_known() -> None:
    assert {path.stem for path in EVENTS} == set(EXPECTED)


@pytest.mark.parametrize("golden_test", ["true", "false"])
@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_every_event_file_runs(aws: Aws, start: Callable[..., Handler], path: Path, golden_test: str) -> None:
    publish(aws.s3, BUCKET, bundle_files())
    for image in (FIXTURES / "images").iterdir():
        aws.put(f"incoming/{image.name}", image.read_bytes())
    answer = start(GOLDEN_TEST=golden_test)(json.loads(path.read_text(encoding="utf-8")), Context())
    expected = EXPECTED[path.stem]
    assert set(aws.keys()) == {f"predictions/{name}.json" for name in expected}
    for name, outcome in expected.items():
        document = json.loads(aws.read(f"predictions/{name}.json"))
        item = aws.item(f"incoming/{name}")
        assert item is not None
        assert item["output_uri"]["S"] == f"s3://{BUCKET}/predictions/{name}.json"
        assert document["request_id"] == item["request_id"]["S"] == "request-1"
        if outcome.startswith("image."):
            assert document["error"]["code"] == item["error_code"]["S"] == outcome
        else:
            assert document["prediction"]["label"] == item["label"]["S"] == outcome
    if path.stem.startswith("sqs"):
        assert answer == {"batchItemFailures": []}
    elif path.stem == "model-query":
        manifest = manifest_for()
        assert answer == {
            "model": {"name": "colours", "version": manifest.version, "sha256": manifest.files["model.tflite"].sha256}
        }
    elif path.stem.startswith("s3-batch"):
        (result,) = answer["results"]
        (outcome,) = expected.values()
        assert result["resultCode"] == ("PermanentFailure" if outcome.startswith("image.") else "Succeeded")
        assert result["resultString"].startswith(outcome)
    elif path.stem == "direct":
        assert answer == json.loads(aws.read("predictions/green.jpg.json"))
    else:
        assert len(answer["images"]) == len(expected)


def test_deletions_are_recorded_where_they_are_wanted(
    aws: Aws, start: Callable[..., Handler], capsys: pytest.CaptureFixture[str]
) -> None:
    publish(aws.s3, BUCKET, bundle_files())
    event = json.loads((ROOT / "events" / "s3-removed.json").read_text(encoding="utf-8"))
    handler = start(REMOVE_DELETED="true")
    assert handler(event, Context()) == {
        "images": [{"status": "removed", "image": {"bucket": BUCKET, "key": "incoming/red.png"}}],
        "skipped": {},
    }
    assert aws.item("incoming/red.png")["status"] == {"S": "removed"}  # type: ignore[index]
    emitted = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    assert sum(sum(one.get("ImagesRemoved", ())) for one in emitted) == 1
    assert handler({"bucket": BUCKET, "key": "incoming/x.png"}, Context())["status"] == "removed"
    (task,) = handler(batch_operations(**{"incoming/y.png": BUCKET}), Context())["results"]
    assert (task["resultCode"], task["resultString"]) == ("Succeeded", "removed")


def batch_operations(**buckets_by_key: str) -> dict[str, Any]:
    tasks = [{"taskId": key, "s3Key": key, "s3Bucket": bucket} for key, bucket in buckets_by_key.items()]
    return {"invocationSchemaVersion": "2.0", "invocationId": "i", "job": {"id": "j"}, "tasks": tasks}


def test_each_task_of_batch_operations_gets_the_code_that_is_its_own(aws: Aws, start: Callable[..., Handler]) -> None:
    publish(aws.s3, BUCKET, bundle_files())
    aws.put("incoming/a.png", png("red"))
    aws.put("incoming/b.png", b"no picture")
    handler = start()
    names = {"incoming/a.png": BUCKET, "incoming/b.png": BUCKET, "incoming/gone.png": BUCKET, "elsewhere/a": BUCKET}
    answer = handler(batch_operations(**names, **{"incoming/x": "no-such-bucket", "incoming/%ff": BUCKET}), Context())
    assert {name: answer[name] for name in answer if name != "results"} == {
        "invocationSchemaVersion": "2.0",
        "treatMissingKeysAs": "TemporaryFailure",
        "invocationId": "i",
    }
    told = {
        result["taskId"]: (result["resultCode"], result["resultString"].split(":")[0]) for result in answer["results"]
    }
    assert told == {
        "incoming/a.png": ("Succeeded", told["incoming/a.png"][1]),
        "incoming/b.png": ("PermanentFailure", "image.unsupported_format"),
        "incoming/gone.png": ("PermanentFailure", "image.not_found"),
        "elsewhere/a": ("Succeeded", "skipped"),
        "incoming/x": ("TemporaryFailure", "storage.unavailable"),
        "incoming/%ff": ("PermanentFailure", "UnicodeDecodeError"),
    }
    assert told["incoming/a.png"][1].startswith("red 0.9")
    # What does not fit before the deadline, and what meets no model, is asked for again.
    late = handler(batch_operations(**{"incoming/a.png": BUCKET}), Context(remaining_ms=0))
    assert [result["resultCode"] for result in late["results"]] == ["TemporaryFailure"]


def test_batch_operations_tries_again_while_there_is_no_model(aws: Aws, start: Callable[..., Handler]) -> None:
    aws.put("incoming/a.png", png("red"))
    (result,) = start()(batch_operations(**{"incoming/a.png": BUCKET}), Context())["results"]
    assert result["resultCode"] == "TemporaryFailure"
    assert result["resultString"].startswith("model.unavailable: ")


def test_a_partial_batch_names_exactly_the_messages_to_deliver_again(
    aws: Aws, start: Callable[..., Handler], caplog: pytest.LogCaptureFixture
) -> None:
    publish(aws.s3, BUCKET, bundle_files())
    aws.put("incoming/a.png", png("red"))
    unreachable = notification("incoming/x.png")
    unreachable["Records"][0]["s3"]["bucket"]["name"] = "no-such-bucket"
    answer = start()(
        sqs(
            notification("incoming/a.png"),
            unreachable,
            "not json",
            {"Event": "s3:TestEvent"},
            notification("incoming/gone.png"),
            notification("elsewhere/a.png"),
        ),
        Context(),
    )
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m1"}, {"itemIdentifier": "m2"}]}
    (done,) = logged(caplog, "batch done")
    assert done.images == {"classified": 1, "failed": 1, "rejected": 1}
    assert done.skipped == {"test_event": 1, "outside_input_prefix": 1}


def test_a_message_with_several_records_fails_if_one_of_them_does(aws: Aws, start: Callable[..., Handler]) -> None:
    publish(aws.s3, BUCKET, bundle_files())
    aws.put("incoming/a.png", png("red"))
    both = notification("incoming/a.png")
    both["Records"] += notification("incoming/b.png")["Records"]
    both["Records"][1]["s3"]["bucket"]["name"] = "no-such-bucket"
    assert start()(sqs(both), Context()) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert aws.keys() == ["predictions/a.png.json"]


def test_a_direct_s3_event_raises_after_the_other_images_are_done(aws: Aws, start: Callable[..., Handler]) -> None:
    publish(aws.s3, BUCKET, bundle_files())
    aws.put("incoming/a.png", png("red"))
    event = notification("incoming/b.png")
    event["Records"][0]["s3"]["bucket"]["name"] = "no-such-bucket"
    event["Records"] += notification("incoming/a.png")["Records"]
    with pytest.raises(StorageUnavailable, match="no-such-bucket"):
        start()(event, Context())
    assert aws.keys() == ["predictions/a.png.json"]


def test_images_left_at_the_deadline_go_back(aws: Aws, start: Callable[..., Handler]) -> None:
    publish(aws.s3, BUCKET, bundle_files())
    for name in ("a", "b"):
        aws.put(f"incoming/{name}.png", png("red"))
    handler = start()

    both = [notification("incoming/a.png"), notification("incoming/b.png")]
    (failure,) = handler(sqs(*both), Late())["batchItemFailures"]
    assert failure["itemIdentifier"] in ("m0", "m1")
    with pytest.raises(OutOfTime, match="1 of 2 images did not fit before the deadline"):
        handler({"Records": [both[0]["Records"][0], both[1]["Records"][0]]}, Late())


def test_skipped_and_unknown_direct_events(aws: Aws, start: Callable[..., Handler]) -> None:
    publish(aws.s3, BUCKET, bundle_files())
    handler = start()
    assert handler({"bucket": BUCKET, "key": "x.png"}, Context()) == {
        "status": "skipped",
        "reason": "outside_input_prefix",
    }
    with pytest.raises(UserError, match="the event is not one of"):
        handler({"hello": "world"}, Context())


def test_a_model_that_is_not_there_yet_is_found_by_a_later_event(
    aws: Aws, start: Callable[..., Handler], caplog: pytest.LogCaptureFixture
) -> None:
    aws.put("incoming/a.png", png("red"))
    handler = start()
    (warning,) = logged(caplog, "not ready at cold start; will retry with the first event")
    assert warning.code == "model.unavailable"
    with pytest.raises(ModelUnavailable, match="bucketlens model publish"):
        handler(sqs(notification("incoming/a.png")), Context())
    publish(aws.s3, BUCKET, bundle_files())
    assert handler(sqs(notification("incoming/a.png")), Context()) == {"batchItemFailures": []}


def test_a_fresh_stacks_test_event_needs_no_model(aws: Aws, start: Callable[..., Handler]) -> None:
    handler = start()
    assert handler(sqs({"Event": "s3:TestEvent"}, notification("elsewhere/a.png")), Context()) == {
        "batchItemFailures": []
    }
    assert handler({"Event": "s3:TestEvent"}, Context()) == {"images": [], "skipped": {"test_event": 1}}
    assert handler(sqs("not json"), Context()) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}


def test_a_deferred_message_is_sent_again_and_counts_as_done(
    aws: Aws, sqs_client: Any, start: Callable[..., Handler]
) -> None:
    publish(aws.s3, BUCKET, bundle_files())
    url = sqs_client.create_queue(QueueName="images")["QueueUrl"]
    for name in ("a", "b"):
        aws.put(f"incoming/{name}.png", png("red"))

    both = sqs(notification("incoming/a.png"), notification("incoming/b.png"))
    assert start(QUEUE_URL=url)(both, Late()) == {"batchItemFailures": []}
    (message,) = sqs_client.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert message["Body"] in [record["body"] for record in both["Records"]]


def test_a_message_without_an_id_that_fails_brings_the_whole_batch_back(
    aws: Aws, start: Callable[..., Handler]
) -> None:
    publish(aws.s3, BUCKET, bundle_files())
    aws.put("incoming/a.png", png("red"))
    event = sqs(notification("incoming/a.png"), "not json")
    del event["Records"][1]["messageId"]
    assert start()(event, Context()) == {"batchItemFailures": [{"itemIdentifier": ""}]}
    assert aws.keys() == ["predictions/a.png.json"]


def test_what_nobody_expected_is_logged_with_its_traceback(
    aws: Aws, start: Callable[..., Handler], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    publish(aws.s3, BUCKET, bundle_files())
    aws.put("incoming/a.png", png("red"))
    aws.put("incoming/b.png", png("green"))
    start()
    from classifier.app import Application
    from classifier.pipeline import Pipeline
    from classifier.settings import Settings
    from classifier.store import Store

    def fail(arguments: dict[str, Any]) -> None:
        if arguments["Key"] == "incoming/a.png":
            raise ZeroDivisionError("nobody expected this")

    settings = Settings.from_environment({"MODEL_URI": f"s3://{BUCKET}/models/", "TABLE_NAME": TABLE})
    model = served(aws, time.monotonic)
    failing: Any = Interposed(aws.function_s3, "get_object", fail)
    odd = Store(failing, aws.function_dynamodb, TABLE)
    application = Application(settings, lambda: model, Pipeline(odd, settings))
    answer = application.handle(sqs(notification("incoming/a.png"), notification("incoming/b.png")), Context())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    (record,) = logged(caplog, "image failed")
    assert record.code == "internal"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_the_stacks_name_is_the_service_of_logs_and_metrics(
    aws: Aws, start: Callable[..., Handler], capsys: pytest.CaptureFixture[str]
) -> None:
    handler = start(POWERTOOLS_SERVICE_NAME="photos", POWERTOOLS_METRICS_NAMESPACE="Ours")
    handler({"Event": "s3:TestEvent"}, Context())
    emitted = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert {line["service"] for line in emitted} == {"photos"}
    (metrics,) = [line["_aws"]["CloudWatchMetrics"][0] for line in emitted if "_aws" in line]
    assert metrics["Namespace"] == "Ours"


@pytest.mark.parametrize(
    ("environment", "error"),
    [({"OUTPUT_PREFIX": "incoming/out/"}, ConfigError), ({"TABLE_NAME": ""}, ConfigError)],
)
def test_a_wrong_configuration_fails_the_batch(
    aws: Aws, start: Callable[..., Handler], environment: dict[str, str], error: type[Exception]
) -> None:
    publish(aws.s3, BUCKET, bundle_files())
    with pytest.raises(error):
        start(**environment)(sqs(notification("incoming/a.png")), Context())
