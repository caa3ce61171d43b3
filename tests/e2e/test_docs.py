"""Every block of the pages that can run is run as it stands, in a clean checkout, one page after the other.

A block marked `console` shows commands with their output (that of docs/scaling.md is compared by
tests/unit/bucketlens/test_cost.py), `sh` commands alone. What follows the language says why a
block is not run here: `gate` (the gate itself runs it), `aws` (an account), `docker`, `network` (it downloads weights
or packages) and `example` (it has names to replace). `python` blocks are run by tests/unit/model_build/test_api.py, and
`bash` blocks, which need other images, by test_readme.py.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bucketlens.local.constants import DEFAULT_PORT
from tests.conftest import ROOT
from tests.support.bundles import FIXTURES

# The first makes what the others use.
RUN = (
    "README.md",
    "docs/one-machine.md",
    "docs/results.md",
    "docs/review.md",
    "docs/operate.md",
    "docs/runbook.md",
    "docs/scaling.md",
    "docs/your-model.md",
)
NOT_RUN = {
    ("docs/benchmarks.md", "example"): 1,
    ("README.md", "gate"): 1,
    ("docs/container.md", "docker"): 2,
    ("docs/container.md", "aws"): 1,
    ("docs/deploy.md", "aws"): 1,
    ("docs/http.md", "aws"): 2,
    ("docs/http.md", "example"): 1,
    ("docs/one-machine.md", "network"): 1,
    ("docs/one-machine.md", "docker"): 2,
    ("docs/operate.md", "example"): 2,
    ("docs/operate.md", "aws"): 1,
    ("docs/review.md", "example"): 3,
    ("docs/training.md", "network"): 1,
    ("docs/scaling.md", "aws"): 2,
    ("docs/tuning.md", "network"): 1,
    ("docs/tuning.md", "aws"): 1,
    ("docs/your-model.md", "example"): 2,
    ("docs/your-photos.md", "network"): 2,
}
ELSEWHERE = {"python", "bash"}
DATA = {"json", "mermaid", "sql", "toml"}
PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
_GENERATED = "docs/commands.md"
_UNTIL_CTRL_C = "until Ctrl-C"
_SECONDS = 600
# What differs from one time to the next: versions, times, measurements.
_VOLATILE = ((r"\d{8}T\d{6}Z-[0-9a-f]{8}", "VERSION"), (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"), (r"\d+\.\d+", "NUMBER"))


@dataclass(frozen=True)
class Block:
    """A fenced block. ``reason`` is why it is not run here; empty if it is."""

    page: str
    language: str
    reason: str
    text: str

    def commands(self) -> list[tuple[str, list[str]]]:
        """Each command with the lines of output that the page shows."""
        if self.language == "sh":
            return [(line, []) for line in self.text.replace("\\\n", " ").splitlines()]
        shown: list[tuple[str, list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                shown.append((line[2:], []))
            elif line != "...":
                shown[-1][1].append(line)
        return shown


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"^```([^\s`]*) ?([^\n]*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [Block(page, language, reason, content) for language, reason, content in found]


def steady(line: str) -> str:
    for pattern, word in _VOLATILE:
        line = re.sub(pattern, word, line)
    return line.strip()


class Shell:
    """A terminal in the checkout: each command sees the variables that those before it have set."""

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout
        self._state = checkout / ".state"
        self._state.touch()
        self.environment = {"PATH": os.defpath, "HOME": str(checkout), "LANG": "C.UTF-8"}

    def start(self, command: str) -> subprocess.Popen[str]:
        """Run a command that goes on by itself; both outputs are one stream."""
        return subprocess.Popen(
            ["bash", "-c", f"set -euo pipefail; source {self._state}; {command}\nexport -p >{self._state}"],
            cwd=self.checkout,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, command: str) -> str:
        """Run a command to its end; what it printed."""
        with self.start(command) as process:
            printed, _ = process.communicate(timeout=_SECONDS)
        assert process.returncode == 0, f"$ {command}\n{printed}"
        return printed

    def run_until_interrupted(self, command: str) -> None:
        """Run a command that serves until Ctrl-C, which it must survive well."""
        with self.start(f"exec {command}") as process:
            assert process.stdout
            assert process.stdout.readline()
            process.send_signal(signal.SIGINT)
            rest = process.stdout.read()
        assert process.returncode == 0, f"$ {command}\n{rest}"


@dataclass(frozen=True)
class Session:
    """What `make demo` said, and a shell beside the local stack with the README's session done."""

    shell: Shell
    demo: str


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    if shutil.which("jq", path=os.defpath) is None:
        pytest.skip("jq, which the README uses, is not installed")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", DEFAULT_PORT))
        except OSError:
            pytest.skip(f"port {DEFAULT_PORT}, which the README uses, is taken")
    checkout = tmp_path_factory.mktemp("checkout")
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, files.split("\0")):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, checkout / name)
        os.utime(checkout / name, (0, 0))  # or make takes the environment, which is this one, for out of date
    (checkout / ".venv").symlink_to(Path(sys.executable).parent.parent)
    # What the guide to one's own model is about.
    shutil.copy(FIXTURES / "models" / "uint8_quantized.tflite", checkout / "mobilenet.tflite")
    shutil.copy(FIXTURES / "models" / "labels.txt", checkout)
    shutil.copytree(FIXTURES / "images", checkout / "photos")
    shell = Shell(checkout)
    demo = shell.run("make demo")
    up, using = (block for block in blocks("README.md") if block.language == "console")
    ((command, expected),) = up.commands()
    with shell.start(f"exec {command}") as stack:
        assert stack.stdout
        try:
            printed: list[str] = []
            while not printed or not printed[-1].startswith("Ctrl-C"):
                printed.append(stack.stdout.readline())
                assert printed[-1], "".join(printed)
            assert {steady(line) for line in expected} <= {steady(line) for line in printed}
            for command, expected in using.commands():
                answer = shell.run(command)
                missing = {steady(line) for line in expected} - {steady(line) for line in answer.splitlines()}
                assert not missing, f"$ {command}\n{answer}"
            yield Session(shell, demo)
        finally:
            stack.send_signal(signal.SIGINT)
            try:
                stack.communicate(timeout=60)
            finally:
                stack.kill()


def test_every_block_says_what_it_is_and_those_not_run_are_known() -> None:
    every = [block for page in PAGES if page != _GENERATED for block in blocks(page)]
    assert {block.language for block in every} <= {"console", "sh", *ELSEWHERE, *DATA}
    runnable = [block for block in every if block.language in ("console", "sh")]
    assert Counter((block.page, block.reason) for block in runnable if block.reason) == NOT_RUN
    assert {block.page for block in runnable if not block.reason} == set(RUN)
    assert {block.page for block in every if block.language == "console"} == {"README.md", "docs/scaling.md"}


@pytest.mark.slow
@pytest.mark.timeout(2 * _SECONDS)
def test_the_session_of_the_readme_and_what_the_demo_says_to_do_next(session: Session) -> None:
    _, _, after = session.demo.partition("in another:\n")
    told = [line.strip().replace(".venv/bin/", "") for line in after.partition("on AWS:")[0].splitlines()]
    shown = [command for command, _ in blocks("README.md")[3].commands()]
    assert told[1] in shown, "publish"
    assert told[3] in shown, "wait"
    found = session.shell.run(f"{told[4]} --format json")
    assert found.count('"status": "classified"') >= 1


@pytest.mark.slow
@pytest.mark.timeout(_SECONDS)
@pytest.mark.parametrize("page", RUN[1:])
def test_the_blocks_of_a_guide_run(session: Session, page: str) -> None:
    for block in blocks(page):
        if block.language != "sh" or block.reason:
            continue
        for command, _ in block.commands():
            if _UNTIL_CTRL_C in command:
                session.shell.run_until_interrupted(shlex.join(shlex.split(command, comments=True)))
            else:
                session.shell.run(command)
