"""The container image, run as its users run it: as a Lambda function under its emulator, and as the HTTP API alone."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bucketlens.local.constants import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from bucketlens.local.emulator import INVOKE_PATH, parse_answer
from bucketlens.local.sam.cases import Case
from bucketlens.local.sam.docker import HOST, Docker
from bucketlens.local.sam.verdict import Records
from classifier.errors import UserError

_PORT = 8080
_START_SECONDS = 60.0
_ANSWER_SECONDS = 300.0
_PAUSE_SECONDS = 0.1


@dataclass(frozen=True)
class RunningContainer:
    """A running container: where its port 8080 is on this machine."""

    docker: Docker
    name: str
    address: tuple[str, int]

    def request(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> tuple[int, bytes]:
        """Status and body of an answer; asks again while nothing listens yet.

        Raises:
            UserError: nothing answers; the message has what the container wrote.
        """
        give_up = time.monotonic() + _START_SECONDS
        while True:
            connection = http.client.HTTPConnection(*self.address, timeout=_ANSWER_SECONDS)
            try:
                connection.request(method, path, body, {"Content-Type": kind})
                response = connection.getresponse()
                return response.status, response.read()
            except (OSError, http.client.HTTPException) as error:
                # Docker's own proxy listens before the container does.
                if time.monotonic() > give_up:
                    log = _log(self.docker, self.name)
                    raise UserError(f"the container does not answer ({error!r}): {log}") from None
                time.sleep(_PAUSE_SECONDS)
            finally:
                connection.close()

    def health_problems(self) -> list[str]:
        """What the image's own health check says against it, run now."""
        told = self.docker("inspect", "--format", "{{json .Config.Healthcheck.Test}}", self.name).stdout
        _, *command = json.loads(told)
        checked = self.docker("exec", self.name, *command)
        return [f"the health check fails: {checked.stdout}{checked.stderr}"] if checked.returncode else []

    def invoke(self, case: Case) -> Any:
        """An :class:`bucketlens.local.sam.invoke.Invoker` of the function in it."""
        return parse_answer(*self.request("POST", INVOKE_PATH, json.dumps(case.event).encode()))


@contextlib.contextmanager
def running(
    docker: Docker,
    image: str,
    *,
    command: Sequence[str] = (),
    environment: Mapping[str, str] = {},
    bundle: Path | None = None,
) -> Iterator[RunningContainer]:
    """Run a container until the end of the context.

    Args:
        command: what follows the image; its own command by default.
        bundle: a bundle's folder, mounted at /model.

    Raises:
        UserError: it does not start.
    """
    options = [f"--env={name}={value}" for name, value in environment.items()]
    options += [f"--volume={bundle.resolve()}:/model:ro"] if bundle else []
    started = docker(
        *("run", "--detach", f"--publish=127.0.0.1::{_PORT}", f"--add-host={HOST}:host-gateway"),
        *(*options, image, *command),
    )
    if started.returncode:
        raise UserError(f"docker run {image} fails: {started.stderr.strip()}")
    name = started.stdout.strip()
    try:
        published = docker("port", name, str(_PORT)).stdout.splitlines()
        if not published:
            raise UserError(f"the container of {image} has ended at once: {_log(docker, name)}")
        host, _, port = published[0].rpartition(":")
        yield RunningContainer(docker, name, (host, int(port)))
    finally:
        docker("rm", "--force", name)


def _log(docker: Docker, name: str) -> str:
    said = docker("logs", "--tail", "20", name)
    return f"\n{said.stdout}{said.stderr}"


def function_environment(settings: Mapping[str, str], timeout_seconds: int, memory_mb: int) -> dict[str, str]:
    """What Lambda sets for the function, and its own variables, with the local endpoint as a container sees it."""
    return {
        **settings,
        "AWS_ENDPOINT_URL": Docker.endpoint(settings["AWS_ENDPOINT_URL"]),
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout_seconds),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mb),
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
    }


def serve_problems(docker: Docker, image: str, bundle: Path, cases: Sequence[Case], records: Records) -> list[str]:
    """What is wrong with `serve`: without AWS, it must answer for each image what its batch result in S3 says.

    Raises:
        UserError: it does not start.
    """
    problems = []
    files = {expected.source: expected for case in cases for expected in case.expected if expected.source is not None}
    with running(docker, image, command=["serve"], bundle=bundle) as container:
        for path, expected in files.items():
            status, body = container.request("POST", "/predict", path.read_bytes(), "image/jpeg")
            answer, document = json.loads(body), records.document(expected) or {}
            told = (answer.get("prediction"), answer.get("code"))
            recorded = (document.get("prediction"), document.get("error", {}).get("code"))
            if told != recorded:
                problems.append(
                    f"serve: POST /predict of {path.name} answers {status} {told}, the batch said {recorded}"
                )
        problems += container.health_problems()
        if docker("exec", container.name, "id", "-u").stdout.strip() in ("", "0"):
            problems.append("the container runs as root")
    return problems
