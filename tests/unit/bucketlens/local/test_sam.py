"""What sam-local runs: Docker, SAM and its variables, with programs of our own in place of Docker's."""

from __future__ import annotations

from pathlib import Path

import pytest

from bucketlens.local.sam.docker import Docker
from bucketlens.local.sam.invoke import check_sample_variables, write_variables
from bucketlens.local.sam.process import attempt, run
from bucketlens.local.sam.tool import SamTool, find_sam, sam_environment
from classifier.errors import UserError


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


def test_a_daemon_that_does_not_answer_is_an_error(programs: Path) -> None:
    program(programs, "docker", 'test "$1" = info')
    Docker(environment_with(programs)).require()
    program(programs, "docker", "exit 1")
    with pytest.raises(UserError, match="no Docker daemon answers"):
        Docker(environment_with(programs)).require()


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


def test_sam_must_be_installed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no SAM CLI at .*nowhere; which BUCKETLENS_SAM names"):
        find_sam(tmp_path, {"BUCKETLENS_SAM": str(tmp_path / "nowhere")})
    with pytest.raises(UserError, match=r"no SAM CLI at .*\.venv-sam/bin/sam; run `make sam-local`"):
        find_sam(tmp_path, {})


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
