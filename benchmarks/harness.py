"""Runs a handler in a fresh process on one processor core, feeds it events, and reads what they cost.

:class:`Host` is that process; :func:`source_tree` exports the tree of another commit for it, so that two versions of
the function can take turns in one run; :func:`sqs_event` makes the events.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote_plus

ROOT = Path(__file__).parent.parent
BUCKET = "bucketlens-123456789012-us-east-1"
TABLE = "bucketlens-predictions"
_SAMPLE_SECONDS = 0.02
_TICK = 1 / os.sysconf("SC_CLK_TCK")


class HandlerFailed(Exception):
    """A handler could not be started, raised, or left images of a batch undone."""


@dataclass(frozen=True)
class Invocation:
    """What one event cost.

    Attributes:
        cpu_seconds: user and system time of the handler's process and all below it.
        seconds: from the event to the answer, in the handler's process.
        answer: what the handler returned.
    """

    cpu_seconds: float
    seconds: float
    answer: Any


class Host:
    """A handler in a process of its own.

    Attributes:
        start_cpu_seconds: from the start of the process to the end of its import.
        start_seconds: the same by the clock on the wall.

    Raises:
        HandlerFailed
    """

    def __init__(self, handler: str, environment: Mapping[str, str], python_path: Sequence[Path], core: int) -> None:
        ours, theirs = socket.socketpair()
        command = [
            sys.executable,
            "-P",
            str(ROOT / "benchmarks" / "hosted" / "host.py"),
            str(theirs.fileno()),
            str(core),
            handler,
        ]
        started = time.perf_counter()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        self._process = subprocess.Popen(
            command,
            # Without PYTHONUNBUFFERED a log's end would be counted with a later event, or with none.
            env={
                "PATH": os.defpath,
                "PYTHONUNBUFFERED": "1",
                "PYTHONPATH": os.pathsep.join(map(str, python_path)),
                **environment,
            },
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,  # a Ctrl-C is for who measures
        )
        theirs.close()
        self._stream = ours.makefile("rwb", buffering=0)
        ours.close()
        self._numbers = count(1)
        try:
            self._receive()
        except HandlerFailed:
            self.__exit__()
            raise
        self.start_seconds = time.perf_counter() - started
        self.start_cpu_seconds = self.cpu_seconds()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._process.wait()
        self._log.close()

    def cpu_seconds(self) -> float:
        """Processor time that the process and all below it have used so far."""
        return sum(map(_cpu_seconds, self._tree()))

    def invoke(self, event: Mapping[str, Any]) -> Invocation:
        """Give the handler an event.

        Raises:
            HandlerFailed
        """
        request = {"event": event, "request_id": f"00000000-0000-4000-8000-{next(self._numbers):012}"}
        before = self.cpu_seconds()
        self._stream.write(json.dumps(request).encode() + b"\n")
        told = self._receive()
        if "error" in told:
            raise HandlerFailed(f"{told['error']}\n{self.log()}")
        return Invocation(self.cpu_seconds() - before, told["seconds"], told["answer"])

    def peak_memory(self, events: Sequence[Mapping[str, Any]]) -> int:
        """The most bytes that the processes take while they handle ``events``: their proportional set sizes, in which
        what several share counts once (proc_pid_smaps(5))."""
        samples = [self.memory()]
        done = threading.Event()

        def sample() -> None:
            while not done.wait(_SAMPLE_SECONDS):
                samples.append(self.memory())

        sampling = threading.Thread(target=sample)
        sampling.start()
        try:
            for event in events:
                self.invoke(event)
        finally:
            done.set()
            sampling.join()
        return max(samples)

    def memory(self) -> int:
        """Bytes that the processes take now."""
        return sum(map(_pss, self._tree()))

    def log(self) -> str:
        """The end of what the handler has written."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), 4000, max(0, size - 4000)).decode(errors="replace")

    def logged_bytes(self) -> int:
        """How much the handler has written to its log."""
        return os.fstat(self._log.fileno()).st_size

    def _tree(self) -> list[int]:
        found, to_do = [], [self._process.pid]
        while to_do:
            pid = to_do.pop()
            found.append(pid)
            with suppress(OSError):  # it has just ended
                for task in Path(f"/proc/{pid}/task").iterdir():
                    to_do += map(int, (task / "children").read_text(encoding="ascii").split())
        return found

    def _receive(self) -> dict[str, Any]:
        line = self._stream.readline()
        if not line:
            self._process.wait()
            raise HandlerFailed(f"the handler's process ended:\n{self.log()}")
        return dict(json.loads(line))


def _cpu_seconds(pid: int) -> float:
    """Of a process, its threads, and its children that have ended and been waited for."""
    try:
        # The clock of clock_getcpuclockid(3), to the nanosecond, where proc_pid_stat(5) has hundredths of a second.
        own = time.clock_gettime(~pid << 3 | 2)
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return own + (int(after_name[13]) + int(after_name[14])) * _TICK


def _pss(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


@contextmanager
def source_tree(ref: str | None) -> Iterator[Path]:
    """The folder of this checkout, or for a git ref one with the tree of that commit, as long as the block lasts.

    Raises:
        HandlerFailed: git knows no such commit.
    """
    if ref is None:
        yield ROOT
        return
    with tempfile.TemporaryDirectory(prefix="bucketlens-bench-") as folder:
        archive = subprocess.run(["git", "archive", ref], cwd=ROOT, capture_output=True, check=False)
        if archive.returncode:
            raise HandlerFailed(archive.stderr.decode().strip())
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        yield Path(folder)


def function_environment(endpoint_url: str, model_uri: str, **settings: str) -> dict[str, str]:
    """The environment of the function, of one vCPU, as the template sets it."""
    return {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
        "MODEL_URI": model_uri,
        "TABLE_NAME": TABLE,
        "QUEUE_URL": f"{endpoint_url}/123456789012/images",
        "INPUT_PREFIX": "incoming/",
        "OUTPUT_PREFIX": "predictions/",
        **settings,
    }


def function(tree: Path, environment: Mapping[str, str], core: int) -> Host:
    """The function of a source tree."""
    return Host("classifier.app", environment, [tree / "functions"], core)


def sqs_event(keys: Sequence[str], sequence: int = 1) -> dict[str, Any]:
    """A batch of SQS messages, each with S3's event of one object, as ``events/sqs-s3-batch.json`` has them.

    Args:
        sequence: of S3's sequencer; a later event has a higher one.
    """
    return {"Records": [_message(number, key, sequence) for number, key in enumerate(keys)]}


def _message(number: int, key: str, sequence: int) -> dict[str, Any]:
    record = {
        "eventVersion": "2.4",
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventTime": "2026-11-20T12:00:00.000Z",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "AWS:AIDAEXAMPLE"},
        "requestParameters": {"sourceIPAddress": "192.0.2.10"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "FMyUVURIY8/IgAtTv8xRjskZQpcIZ9K"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "images",
            "bucket": {"name": BUCKET, "ownerIdentity": {"principalId": "A3EX"}, "arn": f"arn:aws:s3:::{BUCKET}"},
            "object": {"key": quote_plus(key, safe="/"), "size": 1, "eTag": "", "sequencer": f"{sequence:018X}"},
        },
    }
    return {
        "messageId": f"00000000-0000-4000-8000-{number:012}",
        "receiptHandle": f"AQEB{number:030}",
        "body": json.dumps({"Records": [record]}),
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1795176000000",
            "SenderId": "AIDAEXAMPLE",
            "ApproximateFirstReceiveTimestamp": "1795176000050",
        },
        "messageAttributes": {},
        "md5OfBody": "",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:bucketlens-Queue",
        "awsRegion": "us-east-1",
    }
