"""The whole application on this machine, used from outside: the AWS CLI, the console script, the events folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bucketlens.local.emulator import free_ports
from bucketlens.local.rie import find_emulator
from bucketlens.local.shell import variables
from bucketlens.local.stack import LocalStack
from bucketlens.queues import waiting
from classifier.errors import UserError
from model_build.bundles.publish import publish_bundle
from tests.conftest import ROOT
from tests.support.bundles import FIXTURES
from tests.support.proxy import FaultProxy

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Application:
    """A running local stack, as a person at a shell has it."""

    stack: LocalStack
    environment: dict[str, str]

    def run(self, *words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of the virtual environment: ``aws``, ``bucketlens``."""
        command = [str(BIN / str(words[0])), *map(str, words[1:])]
        done = subprocess.run(
            command, env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def items(self) -> dict[str, dict[str, Any]]:
        """Every item of the table, by object key."""
        pages = self.stack.aws.dynamodb.get_paginator("scan").paginate(TableName=self.stack.table)
        prefix = f"s3://{self.stack.bucket}/"
        return {item["image_uri"]["S"].removeprefix(prefix): item for page in pages for item in page["Items"]}

    def has(self, key: str) -> bool:
        """Whether the image has an item."""
        return key in self.items()

    def keys(self, prefix: str) -> set[str]:
        pages = self.stack.aws.s3.get_paginator("list_objects_v2").paginate(Bucket=self.stack.bucket, Prefix=prefix)
        return {entry["Key"] for page in pages for entry in page.get("Contents", [])}

    def wrong(self, expected: Mapping[str, str]) -> list[str]:
        """Images whose item is not as expected, or whose JSON is not that item's; and items of no such image.

        Args:
            expected: object key -> label, or code of the rejection.
        """
        items = self.items()
        found = [f"{key}: an item of no image" for key in items.keys() - expected.keys()]
        for key, outcome in expected.items():
            item = {name: next(iter(value.values())) for name, value in items.get(key, {}).items()}
            if outcome not in (item.get("label"), item.get("error_code")) or "unfinished" in item:
                found.append(f"{key}: {item} instead of {outcome}")
                continue
            output = f"predictions/{key.removeprefix('incoming/')}.json"
            try:
                document = json.loads(self.stack.aws.s3.get_object(Bucket=self.stack.bucket, Key=output)["Body"].read())
            except self.stack.aws.s3.exceptions.NoSuchKey:
                found.append(f"{key}: no JSON")
                continue
            names = ("request_id", "classified_at", "status")
            if any(document[name] != item[name] for name in names):
                found.append(f"{key}: JSON {document} of another attempt than item {item}")
        return found

    def drained(self, seconds: float) -> None:
        """Wait until the queue is empty, messages in flight included."""
        self.until(lambda: not self.waiting(self.stack.queue_url), seconds)

    def until(self, condition: Callable[[], bool], seconds: float = 90) -> None:
        """Poll until ``condition`` holds; fail when it does not in time."""
        pause, end = threading.Event(), time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "what was waited for did not come"
            pause.wait(0.1)

    def waiting(self, url: str) -> int:
        """How many messages a queue holds, those being worked on included."""
        return waiting(self.stack.aws.sqs, url)

    def queue_is_empty(self) -> bool:
        return not any(self.waiting(url) for url in (self.stack.queue_url, self.stack.dead_letter_queue_url))


@contextmanager
def running_application(folder: Path, *, port: int = 0, **options: Any) -> Iterator[Application]:
    """A fresh stack with the fixture bundle published; ``options`` are those of LocalStack."""
    try:
        find_emulator()
    except UserError as error:
        pytest.skip(f"the Lambda runtime emulator is not installed: {error}")
    with LocalStack(ROOT / "template.yaml", port=port, log_folder=folder / "log", **options) as stack:
        environment = {
            "PATH": f"{BIN}{os.pathsep}{os.defpath}",
            "HOME": str(folder),
            **variables(stack.endpoint_url),
        }
        publish_bundle(FIXTURES / "bundle", stack.deployment.outputs["ModelUri"], stack.aws.s3)
        yield Application(stack, environment)


@contextmanager
def behind_a_proxy(folder: Path, **options: Any) -> Iterator[tuple[Application, FaultProxy]]:
    """As ``running_application``, where everything that the function asks of AWS goes through the proxy."""
    (port,) = free_ports(1)
    with (
        FaultProxy(f"http://127.0.0.1:{port}").running() as proxy,
        running_application(folder, port=port, function_endpoint=proxy.url, **options) as application,
    ):
        yield application, proxy


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Application]:
    with running_application(tmp_path) as running:
        yield running
