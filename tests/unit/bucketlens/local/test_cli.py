"""The commands' words when something is wrong, and what a shell gets."""

from __future__ import annotations

import subprocess

import pytest
from typer.testing import CliRunner

from bucketlens.cli.local import app
from bucketlens.local.emulator import free_ports
from bucketlens.local.shell import exports
from classifier.errors import UserError


def test_a_parameter_without_value_is_refused() -> None:
    result = CliRunner().invoke(app, ["up", "--parameter", "TopK"])
    assert isinstance(result.exception, UserError)
    assert "--parameter TopK is not NAME=VALUE" in str(result.exception)


def test_env_without_a_stack_says_how_to_start_one() -> None:
    (port,) = free_ports(1)
    result = CliRunner().invoke(app, ["env", "--port", str(port)])
    assert isinstance(result.exception, UserError)
    assert f"no local stack answers at http://127.0.0.1:{port}; start one with `bucketlens local up`" in str(
        result.exception
    )
    assert result.stdout == ""


@pytest.mark.parametrize("command", ["up", "env"])
def test_help_ends_with_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert "Example: " in result.stdout


def test_exports_survive_a_shell() -> None:
    environment = {"A": "plain", "B": "two words; $HOME 'quoted'"}
    script = exports(environment) + 'printf "%s\\n" "$A" "$B"'
    output = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert output.splitlines() == list(environment.values())
