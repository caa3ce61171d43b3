"""The real emulator and the real runtime client around a function of a few lines."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bucketlens.local.emulator import Emulator, FunctionError
from classifier.errors import UserError
from tests.integration.local_helpers import DEADLINE, ROOT, function_folder, needs_emulator, wait_for_end

pytestmark = [needs_emulator, pytest.mark.slow]

CODE = """
    import os, signal, threading

    def handler(event, context):
        print("handling", sorted(event))
        if "fifo" in event:
            with open(event["fifo"], "w") as fifo:  # opens when the test reads
                fifo.write(str(os.getpid()))
            signal.pause()
        if "sleep" in event:
            threading.Event().wait(event["sleep"])
        if "raise" in event:
            raise ValueError(event["raise"])
        if "exit" in event:
            os._exit(event["exit"])
        return {
            "event": event,
            "pid": os.getpid(),
            "environment": dict(os.environ),
            "remaining_ms": context.get_remaining_time_in_millis(),
            "request_id": context.aws_request_id,
        }
"""


@pytest.fixture(scope="module")
def function_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return function_folder(tmp_path_factory.mktemp("function"), CODE)


@pytest.fixture(scope="module")
def emulator(function_dir: Path) -> Iterator[Emulator]:
    emulator = Emulator(function_dir, {"TABLE_NAME": "t"}, 2, 512, log=function_dir / "function.log")
    emulator.start()
    yield emulator
    emulator.stop()


def test_the_handlers_answer_comes_back(emulator: Emulator) -> None:
    event = {"key": "ä b+c.jpg", "list": [1, None]}
    first, second = emulator.invoke(event), emulator.invoke(event)
    assert first["event"] == event
    assert first["pid"] == second["pid"]
    assert first["request_id"] != second["request_id"]
    assert 0 < first["remaining_ms"] <= 2000


def test_the_function_sees_its_own_environment_only(emulator: Emulator, function_dir: Path) -> None:
    environment = emulator.invoke({})["environment"]
    assert environment["TABLE_NAME"] == "t"
    assert environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "512"
    assert environment["LAMBDA_TASK_ROOT"] == str(function_dir)
    assert "PYTEST_CURRENT_TEST" in os.environ
    assert not {"HOME", "VIRTUAL_ENV", "PYTEST_CURRENT_TEST", "AWS_PROFILE"} & environment.keys()


def test_what_it_prints_is_in_its_log(emulator: Emulator, function_dir: Path) -> None:
    emulator.invoke({"printed": 1})
    assert "handling ['printed']" in (function_dir / "function.log").read_text()


@pytest.mark.parametrize(
    ("event", "kind", "reason"),
    [
        ({"raise": "bad image"}, "ValueError", "bad image"),
        ({"exit": 3}, "Runtime.ExitError", "exit status 3"),
        ({"sleep": 30}, "Sandbox.Timedout", "Task timed out after 2.00 seconds"),
    ],
)
def test_a_failure_is_an_error_and_the_next_event_works(
    emulator: Emulator, event: dict[str, object], kind: str, reason: str
) -> None:
    with pytest.raises(FunctionError, match=reason) as raised:
        emulator.invoke(event)
    assert raised.value.type == kind
    assert emulator.invoke({})["event"] == {}


def test_requests_of_many_threads_take_turns(emulator: Emulator) -> None:
    answers = []
    threads = [
        threading.Thread(target=lambda n=n: answers.append(emulator.invoke({"n": n})["event"]["n"])) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert sorted(answers) == list(range(8))


def test_a_function_that_cannot_be_imported_is_an_error(tmp_path: Path) -> None:
    emulator = Emulator(function_folder(tmp_path, "import no_such_module"), {}, 5, 128)
    emulator.start()
    try:
        with pytest.raises(FunctionError, match="no_such_module"):
            emulator.invoke({})
    finally:
        emulator.stop()


def test_a_missing_folder_or_python_is_named(tmp_path: Path, function_dir: Path) -> None:
    with pytest.raises(UserError, match="nowhere does not exist"):
        Emulator(tmp_path / "nowhere", {}, 5, 128).start()
    with pytest.raises(UserError, match="no-python is not an executable Python"):
        Emulator(function_dir, {}, 5, 128, python=tmp_path / "no-python").start()
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(UserError, match="python lacks Lambda's runtime client"):
        Emulator(function_dir, {}, 5, 128, python=bare).start()


def test_stop_ends_a_function_in_the_middle(tmp_path: Path, function_dir: Path) -> None:
    emulator = Emulator(function_dir, {}, 300, 128)
    emulator.start()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    errors: list[FunctionError] = []

    def invoke() -> None:
        try:
            emulator.invoke({"fifo": str(fifo)})
        except FunctionError as error:
            errors.append(error)

    thread = threading.Thread(target=invoke)
    thread.start()
    pid = int(fifo.read_text())
    emulator.stop()
    thread.join(DEADLINE)
    assert len(errors) == 1
    assert wait_for_end(pid)


def test_nothing_outlives_a_killed_process(tmp_path: Path) -> None:
    function_folder(tmp_path, CODE)
    script = f"""
import os, signal
from pathlib import Path
from bucketlens.local.emulator import Emulator
emulator = Emulator(Path({str(tmp_path)!r}), {{}}, 60, 128)
emulator.start()
print(emulator.invoke({{}})["pid"], emulator._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == -9
    for pid in done.stdout.split():
        assert wait_for_end(int(pid))
