"""``bucketlens local up`` as a person starts and ends it."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bucketlens.local.emulator import free_ports
from tests.integration.local_helpers import DEADLINE, TEMPLATE, function_folder, needs_emulator, wait_for_end

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
