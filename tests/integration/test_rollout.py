"""Waiting until the functions follow a promotion: by the clock, and by what the function answers."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from bucketlens.local.stack import LocalStack
from bucketlens.rollout import PATIENCE_SECONDS, Rollout
from classifier.errors import ModelIncompatibleError, UserError
from classifier.events import MODEL_QUERY
from classifier.loader import CHECK_INTERVAL_SECONDS
from tests.integration.local_helpers import TEMPLATE, needs_emulator
from tests.support.bundles import FIXTURES, publish
from tests.support.clients import client_error

OLD, NEW = "20261120T101500Z-5d313724", "20261121T101500Z-a1b2c3d4"


@dataclass
class Lambda:
    """Answers each query as ``answer`` says for the time it is; sleeping passes the time."""

    answer: Callable[[float], dict[str, Any] | Exception]
    now: float = 0.0
    asked: list[float] = field(default_factory=list)

    def invoke(self, *, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803 - the SDK's names
        assert (FunctionName, json.loads(Payload)) == ("classify", MODEL_QUERY)
        self.asked.append(self.now)
        answer = self.answer(self.now)
        if isinstance(answer, Exception):
            raise answer
        failed = {"FunctionError": "Unhandled"} if "errorType" in answer else {}
        return {**failed, "Payload": io.BytesIO(json.dumps(answer).encode())}

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def wait(self, version: str = NEW) -> None:
        Rollout("photos", "classify", self).wait(version, clock=lambda: self.now, sleep=self.sleep)


def serving(version: str) -> dict[str, Any]:
    return {"model": {"name": "m", "version": version, "sha256": "0" * 64}}


@pytest.mark.parametrize("follows_after", [0, 42, 61, 100])
def test_it_returns_when_the_function_answers_and_every_other_one_has_looked(follows_after: float) -> None:
    function = Lambda(lambda now: serving(NEW if now >= follows_after else OLD))
    function.wait()
    assert (
        max(follows_after, CHECK_INTERVAL_SECONDS) <= function.now < max(follows_after, CHECK_INTERVAL_SECONDS) + 5.01
    )


@pytest.mark.parametrize(
    ("passing", "told"),
    [
        ({"errorType": "ModelUnavailable", "errorMessage": "S3 is away"}, "ModelUnavailable: S3 is away"),
        ({"errorType": "Sandbox.Timedout", "errorMessage": "late"}, "Sandbox.Timedout: late"),
        (client_error("TooManyRequestsException", 429), "TooManyRequestsException"),
        (serving(OLD), OLD),
    ],
)
def test_what_may_pass_is_waited_out_and_then_told(passing: Any, told: str) -> None:
    Lambda(lambda now: serving(NEW) if now > 90 else passing).wait()
    function = Lambda(lambda _: passing)
    with pytest.raises(UserError) as error:
        function.wait()
    assert f"{NEW} is live, but after {PATIENCE_SECONDS:.0f} s the function classify answers with {told}" in str(
        error.value
    )


def test_a_version_that_the_function_refuses_is_told_at_once() -> None:
    refusal = {"errorType": ModelIncompatibleError.__name__, "errorMessage": "op 99"}
    function = Lambda(lambda _: refusal)
    with pytest.raises(UserError, match=r"ModelIncompatibleError: op 99\. See docs/runbook\.md#function-errors"):
        function.wait()
    assert function.now == 0
    with pytest.raises(ClientError, match="AccessDenied"):
        Lambda(lambda _: client_error("AccessDeniedException", 403)).wait()


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[LocalStack]:
    with LocalStack(TEMPLATE, port=0, workers=1, log_folder=tmp_path) as running:
        yield running


@needs_emulator
@pytest.mark.slow
def test_the_local_function_says_what_it_serves(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", stack.endpoint_url)
    models = f"s3://{stack.bucket}/models/"
    rollout = Rollout.of("bucketlens", models)
    response = rollout.client.invoke(FunctionName=rollout.function, Payload=json.dumps(MODEL_QUERY).encode())
    refused = json.loads(response["Payload"].read())
    assert (response["FunctionError"], refused["errorType"]) == ("Unhandled", "ModelUnavailable")

    bundle = FIXTURES / "bundle"
    files = {str(path.relative_to(bundle)): path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    version = publish(stack.aws.s3, stack.bucket, files)
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    rollout.wait(version, clock=lambda: now[0], sleep=sleep)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        rollout.client.invoke(FunctionName="another", Payload=b"{}")
    with pytest.raises(ClientError, match="InvalidRequestContentException"):
        rollout.client.invoke(FunctionName=rollout.function, Payload=b"{")
    with pytest.raises(ClientError, match="InvalidParameterValueException"):
        rollout.client.invoke(FunctionName=rollout.function, InvocationType="Event", Payload=b"{}")

    with pytest.raises(UserError, match="read models at"):
        Rollout.of("bucketlens", "s3://elsewhere/models/")


def test_a_pinned_stack_is_said_to_follow_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = {"ModelVersion": OLD}
    with LocalStack(TEMPLATE, port=0, event_source=False, parameters=pinned, log_folder=tmp_path) as stack:
        monkeypatch.setenv("AWS_ENDPOINT_URL", stack.endpoint_url)
        with pytest.raises(UserError, match=f"pinned to {OLD}"):
            Rollout.of("bucketlens", f"s3://{stack.bucket}/models/")
