"""Finding, starting and ending a Docker daemon, with programs of our own in place of Docker's."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from classifier.errors import UserError
from local.sam.daemon import Docker, NoDaemon, docker_daemon
from local.sam.invoke import check_sample_variables, write_variables
from local.sam.process import attempt, run
from local.sam.tool import SamTool, ensure_sam, sam_environment

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a daemon")


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO())


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def environment_with(programs: Path) -> dict[str, str]:
    return {"PATH": f"{programs}:/usr/bin:/bin"}


def test_a_daemon_that_runs_is_used_and_left_running(programs: Path, tmp_path: Path, console: Console) -> None:
    program(programs, "docker", "exit 0")
    program(programs, "dockerd", f"touch {tmp_path}/started")
    environment = environment_with(programs)
    with docker_daemon(tmp_path / "cache" / "docker", environment, console) as docker:
        assert docker.environment == environment
    assert not (tmp_path / "started").exists()
    assert not (tmp_path / "cache").exists()


@AS_ROOT
def test_a_daemon_that_does_not_start_is_an_error_with_its_last_words(
    programs: Path, tmp_path: Path, console: Console
) -> None:
    program(programs, "docker", "exit 1")
    program(programs, "dockerd", "echo starting; echo failed to mount overlay: not permitted >&2; exit 1")
    with (
        pytest.raises(NoDaemon, match="dockerd does not start here: failed to mount overlay: not permitted"),
        docker_daemon(tmp_path / "docker", environment_with(programs), console),
    ):
        pytest.fail("there is no daemon")


@AS_ROOT
def test_a_private_daemon_is_ended(programs: Path, tmp_path: Path, console: Console) -> None:
    # Answers only at the private daemon's address, and not before that has started.
    program(programs, "docker", f'test -n "$DOCKER_HOST" -a -e {tmp_path}/pid')
    script = f'echo "$@" > {tmp_path}/arguments; echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid'
    program(programs, "dockerd", f"{script}; exec tail -f /dev/null")
    with docker_daemon(tmp_path / "docker", environment_with(programs), console) as docker:
        socket = docker.environment["DOCKER_HOST"].removeprefix("unix://")
        assert len(socket.encode()) <= 107
        pid = (tmp_path / "pid").read_text().strip()
        assert Path("/proc", pid).exists()
    assert not Path("/proc", pid).exists()
    assert not Path(socket).parent.exists()
    arguments = (tmp_path / "arguments").read_text()
    assert f"--data-root {tmp_path}/docker " in arguments
    assert "--iptables=false" in arguments


def test_the_host_is_reached_by_loopback_where_the_bridge_is_not_ours(programs: Path) -> None:
    # An address of documentation (RFC 5737): no machine has it.
    program(programs, "docker", "echo 192.0.2.1")
    assert Docker(environment_with(programs)).gateway() == "127.0.0.1"
    program(programs, "docker", "echo 127.0.0.2")
    assert Docker(environment_with(programs)).gateway() == "127.0.0.2"
    program(programs, "docker", "exit 1")
    assert Docker(environment_with(programs)).gateway() == "127.0.0.1"


def test_a_program_that_fails_is_quoted() -> None:
    with pytest.raises(UserError, match=r"mending failed \(exit code 3\):\n  out\n  no glue"):
        run(["sh", "-c", "echo out; echo no glue >&2; exit 3"], purpose="mending")


def test_programs_that_are_missing_or_slow_answer_as_in_a_shell() -> None:
    assert attempt(["no-such-program-anywhere"]).returncode == 127
    assert attempt(["tail", "-f", "/dev/null"], timeout=0.1).returncode == 124


def test_sam_gets_nobodys_credentials_and_no_telemetry() -> None:
    tool = SamTool(Path("sam"), Path("python"))
    environment = sam_environment({"AWS_PROFILE": "mine", "AWS_SECRET_ACCESS_KEY": "secret", "HOME": "/home/me"}, tool)
    assert "AWS_PROFILE" not in environment
    assert "AWS_SECRET_ACCESS_KEY" not in environment
    assert environment["HOME"] == "/home/me"
    assert environment["SAM_CLI_TELEMETRY"] == "0"


def test_a_sam_that_is_named_must_exist(tmp_path: Path, console: Console) -> None:
    with pytest.raises(UserError, match=r"BUCKETLENS_SAM names .*nowhere, which is not a file"):
        ensure_sam(tmp_path, {"BUCKETLENS_SAM": str(tmp_path / "nowhere")}, console)


def test_the_variables_for_a_container(tmp_path: Path) -> None:
    settings = {"TABLE_NAME": "t", "AWS_ENDPOINT_URL": "http://127.0.0.1:4321"}
    written = write_variables(tmp_path / "env.json", settings).read_text()
    assert '"AWS_ENDPOINT_URL": "http://host.docker.internal:4321"' in written
    check_sample_variables(tmp_path / "env.json", settings)
    with pytest.raises(UserError, match="sets TABLE_NAME to 't'; the local stack has 'u'"):
        check_sample_variables(tmp_path / "env.json", {**settings, "TABLE_NAME": "u"})


def test_a_sample_may_switch_a_setting_off_but_not_invent_one(tmp_path: Path) -> None:
    (tmp_path / "env.json").write_text('{"ClassifierFunction": {"QUEUE_URL": ""}}')
    check_sample_variables(tmp_path / "env.json", {"QUEUE_URL": "http://127.0.0.1:4321/1/queue"})
    with pytest.raises(UserError, match="sets QUEUE_URL to ''; the local stack has None"):
        check_sample_variables(tmp_path / "env.json", {})
