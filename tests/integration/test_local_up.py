"""``bucketlens local up`` as a person starts and ends it."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bucketlens.local.clients import clients
from bucketlens.local.emulator import free_ports
from tests.integration.local_helpers import DEADLINE, TEMPLATE, function_folder, needs_emulator, wait_for_end
from tests.support.bundles import bundle_files, publish
from tests.support.images import png

pytestmark = [needs_emulator, pytest.mark.slow]

COMMAND = [sys.executable, "-c", "from bucketlens.cli.main import main; main()", "local"]


@contextmanager
def up(folder: Path, port: int, *options: str) -> Iterator[subprocess.Popen[str]]:
    if not (folder / "function").exists():
        function_folder(folder / "function", "def handler(event, context): return None")
    command = [*COMMAND, "up", "--port", str(port), "--template", str(TEMPLATE)]
    command += ["--function-dir", str(folder / "function"), *options]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=DEADLINE)


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What it says on stderr up to and with ``text``."""
    assert process.stderr is not None
    said = ""
    while text not in said:
        ready, _, _ = select.select([process.stderr], [], [], DEADLINE)
        chunk = os.read(process.stderr.fileno(), 65536).decode() if ready else ""
        if not chunk:
            pytest.fail(f"{text!r} was not said, but: {said}")
        said += chunk
    return said


def descendants(pid: int) -> list[int]:
    children = [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in _children(task)]
    return [*children, *(grandchild for child in children for grandchild in descendants(child))]


def _children(task: Path) -> list[str]:
    return (task / "children").read_text().split()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything(tmp_path: Path, number: signal.Signals) -> None:
    (port,) = free_ports(1)
    with up(tmp_path, port) as process:
        said = read_until(process, "0 failed")  # S3's test event, which the function has handled
        children = descendants(process.pid)
        assert len(children) >= 2
        process.send_signal(number)
        stdout, rest = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    assert stdout == ""
    assert "Traceback" not in said + rest
    assert "No model is published yet" in said
    assert f'eval "$(bucketlens local env --port {port})"' in said
    for child in children:
        assert wait_for_end(child)
    assert sorted(path.name for path in (tmp_path / ".bucketlens" / "local").iterdir())[0] == "function-1.log"
    with socket.create_server(("127.0.0.1", port)):
        """The port is free again."""


def test_a_killed_stack_leaves_no_process(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with up(tmp_path, port) as process:
        read_until(process, "0 failed")
        children = descendants(process.pid)
        process.kill()
    assert children
    for child in children:
        assert wait_for_end(child)


def test_env_and_a_second_start_meet_the_first(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with up(tmp_path, port) as process:
        read_until(process, "Ctrl-C stops it")
        env = subprocess.run(
            [*COMMAND, "env", "--port", str(port)], capture_output=True, text=True, timeout=DEADLINE, check=True
        )
        assert f"export AWS_ENDPOINT_URL=http://127.0.0.1:{port}\n" in env.stdout
        assert all(re.fullmatch(r"export [A-Z_]+=\S+", line) for line in env.stdout.splitlines())
        with up(tmp_path, port) as second:
            _, said = second.communicate(timeout=DEADLINE)
        assert second.returncode == 1
        assert " ".join(said.split()).startswith(f"error: port {port} on 127.0.0.1 is taken")
        assert process.poll() is None


def test_the_http_api_is_served_beside_the_endpoints(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    command = [*COMMAND, "up", "--port", str(port), "--workers", "1", "--parameter", "AllowUrlFetch=true"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        said = read_until(process, "Ctrl-C stops it")
        found = re.search(r"http +(http://\S+)", said)
        assert found is not None, said
        url = found[1]
        assert url.startswith("http://127.0.0.1:")
        with pytest.raises(urllib.error.HTTPError) as unhealthy:
            urllib.request.urlopen(f"{url}health", timeout=DEADLINE)
        with unhealthy.value as answer:
            assert (answer.status, json.load(answer)["code"]) == (503, "model.unavailable")
        s3 = clients(f"http://127.0.0.1:{port}").s3
        bucket = s3.list_buckets()["Buckets"][0]["Name"]
        publish(s3, bucket, bundle_files())
        s3.put_object(Bucket=bucket, Key="incoming/a.png", Body=png("green"))
        bodies = (
            (png("green"), "image/png"),
            (json.dumps({"s3": f"s3://{bucket}/incoming/a.png"}), "application/json"),
        )
        for body, content_type in bodies:
            data = body if isinstance(body, bytes) else body.encode()
            image = urllib.request.Request(f"{url}predict", data, {"Content-Type": content_type})
            with urllib.request.urlopen(image, timeout=DEADLINE) as answer:
                assert json.load(answer)["prediction"]["label"] == "green"
        fetched = urllib.request.Request(
            f"{url}predict", b'{"url": "https://127.0.0.1/"}', {"Content-Type": "application/json"}
        )
        with pytest.raises(urllib.error.HTTPError, match="403") as refused:
            urllib.request.urlopen(fetched, timeout=DEADLINE)
        with refused.value as answer:
            assert "public address" in json.load(answer)["detail"]
        children = descendants(process.pid)
    finally:
        process.terminate()
        process.communicate(timeout=DEADLINE)
    for child in children:
        assert wait_for_end(child)


def test_a_taken_port_of_the_http_api_is_named(tmp_path: Path) -> None:
    port, taken = free_ports(2)
    with socket.create_server(("127.0.0.1", taken)):
        done = subprocess.run(
            [*COMMAND, "up", "--port", str(port), "--http-port", str(taken)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
    assert done.returncode == 1
    assert f"port {taken} on 127.0.0.1 cannot be used for the HTTP API" in " ".join(done.stderr.split())
