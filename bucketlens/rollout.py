"""Waits until the functions of a stack serve the version that was made live.

A function looks at the pointer before a batch when CHECK_INTERVAL_SECONDS have passed since it last did. So each batch
that begins so long after the pointer has moved is classified by the new version, in whichever of the execution
environments: that is the time to wait. That the version can be loaded there at all, an invocation tells.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import boto3
from botocore.exceptions import ClientError

from bucketlens.stack import Stack, endpoint_url
from classifier.bundle import ModelUri
from classifier.errors import FatalError, UserError
from classifier.events import MODEL_QUERY
from classifier.loader import CHECK_INTERVAL_SECONDS

PATIENCE_SECONDS = 180.0
_PAUSE_SECONDS = 5.0
# UserError: a function of an older release, which does not know the query.
_FINAL = frozenset(kind.__name__ for kind in (*FatalError.__subclasses__(), UserError))


@dataclass(frozen=True)
class Rollout:
    """The functions of a stack, which follow a model location.

    Attributes:
        name: of the stack.
        client: Lambda's.
    """

    name: str
    function: str
    client: Any

    @classmethod
    def of(cls, name: str, at: str) -> Self:
        """The functions of stack ``name``.

        Raises:
            UserError: they do not follow the pointer at ``at``, a model location; or there is no such stack.
            BotoCoreError, ClientError: AWS does not answer or refuses.
        """
        stack = Stack.find(name)
        pinned = stack.parameters.get("ModelVersion")
        if pinned:
            raise UserError(
                f"the functions of stack {name!r} are pinned to {pinned} by the parameter ModelVersion: they follow no"
                " promotion. Deploy the stack with ModelVersion empty, or leave out --wait"
            )
        if ModelUri.parse(stack.model_uri) != ModelUri.parse(at):
            raise UserError(
                f"the functions of stack {name!r} read models at {stack.model_uri}, not at {at}: name the right stack"
                " with --stack, or leave out --wait"
            )
        return cls(name, stack.function, boto3.client("lambda", endpoint_url=endpoint_url()))

    def wait(
        self,
        version: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Return when every batch that begins from now on is classified by ``version``, which was made live just now.

        Raises:
            UserError: it is not so after :data:`PATIENCE_SECONDS`, or the function cannot load the version.
            BotoCoreError, ClientError: AWS does not answer or refuses.
        """
        begun = clock()
        while True:
            told = self._served()
            elapsed = clock() - begun
            if told == version and elapsed >= CHECK_INTERVAL_SECONDS:
                return
            if elapsed >= PATIENCE_SECONDS:
                raise UserError(
                    f"{version} is live, but after {elapsed:.0f} s the function {self.function} answers with {told}:"
                    f" look at `sam logs --stack-name {self.name}`, and at 'bucketlens model versions' for what is live"
                )
            sleep(_PAUSE_SECONDS)

    def _served(self) -> str:
        """The version that one of the functions serves, or why it has none for now."""
        try:
            response = self.client.invoke(FunctionName=self.function, Payload=json.dumps(MODEL_QUERY).encode())
        except ClientError as error:
            if error.response["Error"]["Code"] != "TooManyRequestsException":
                raise
            return "TooManyRequestsException"
        answer = json.loads(response["Payload"].read())
        if "FunctionError" not in response:
            return str(answer["model"]["version"])
        kind, message = answer.get("errorType", "error"), answer.get("errorMessage", "")
        if kind not in _FINAL:
            return f"{kind}: {message}"
        raise UserError(
            f"the function {self.function} fails with {kind}: {message}. See docs/runbook.md#function-errors"
        )
