"""The command line: every command documents itself, and every failure is one line and an exit code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
import typer
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, NoRegionError
from typer.core import TyperGroup
from typer.testing import CliRunner

from bucketlens.cli.main import app, explain
from bucketlens.cli.main import run as run_to_exit
from tests.conftest import ROOT

CONTRACT = {
    "model sample-data",
    "model inspect",
    "model train",
    "model convert",
    "model evaluate",
    "model package",
    "model import",
    "model publish",
    "model promote",
    "model rollback",
    "model versions",
    "local up",
    "local env",
    "results get",
    "results find",
    "results gallery",
    "results review",
    "results export",
    "reconcile",
    "dlq list",
    "dlq redrive",
    "dlq purge",
}


def commands(group: Any = typer.main.get_command(app), words: str = "") -> dict[str, str]:  # noqa: B008 - read once
    """Every command's help text, by its words."""
    if not isinstance(group, TyperGroup):
        return {words.strip(): group.help or ""}
    return {w: t for name, sub in group.commands.items() for w, t in commands(sub, f"{words} {name}").items()}


def test_the_commands_are_the_contracts() -> None:
    assert set(commands()) >= CONTRACT


@pytest.mark.parametrize(("words", "text"), commands().items(), ids=lambda value: value if len(value) < 30 else "")
def test_every_command_explains_itself_with_an_example(words: str, text: str) -> None:
    assert f"Example: bucketlens {words}" in text or 'Example: eval "$(bucketlens' in text
    shown = CliRunner().invoke(app, [*words.split(), "--help"])
    assert shown.exit_code == 0
    assert "Example:" in shown.stdout


@pytest.mark.parametrize(
    ("words", "environment", "message"),
    [
        ("results find", {}, "no AWS region"),
        ("results find", {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}, "no AWS credentials"),
        ("results find --rejected --label x", {}, "cannot be combined with --label"),
        ("local env --port 1", {}, "bucketlens local up"),
        ("model inspect-nothing", {}, None),
        ("model import --tflite missing.tflite --labels x --out y", {}, "missing.tflite"),
        ("model train missing --out y", {}, "missing"),
        ("model publish missing --to s3://bucket/models/", {"AWS_DEFAULT_REGION": "us-east-1"}, "missing"),
        (
            "model publish tests/fixtures/bundle --to nowhere",
            {"AWS_DEFAULT_REGION": "us-east-1"},
            "not a model location",
        ),
        (
            "model publish tests/fixtures/bundle --to s3://bucket/models/",
            {"AWS_DEFAULT_REGION": "us-east-1"},
            "no AWS credentials",
        ),
    ],
)
def test_a_failure_is_one_line_and_not_exit_code_0(
    words: str,
    environment: dict[str, str],
    message: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(ROOT)
    # The default session keeps the credentials it was made with.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setattr(sys, "argv", ["bucketlens", *words.split()])
    before = set(ROOT.iterdir())
    with pytest.raises(SystemExit) as raised:
        run_to_exit(app)
    shown = capsys.readouterr()
    assert raised.value.code != 0
    assert shown.out == ""
    if message is not None:
        assert message in shown.err
        assert [line for line in shown.err.splitlines() if line.startswith("error: ")] == shown.err.splitlines()[-1:]
    assert set(ROOT.iterdir()) == before, "something was left half-written"


def test_errors_of_the_sdk_say_what_to_do() -> None:
    assert "aws configure" in explain(NoCredentialsError())
    assert "AWS_REGION" in explain(NoRegionError())
    assert "bucketlens local up" in explain(EndpointConnectionError(endpoint_url="http://127.0.0.1:1"))
    refused = ClientError({"Error": {"Code": "AccessDenied", "Message": "not allowed"}}, "GetItem")
    assert explain(refused) == "AWS refuses GetItem: AccessDenied: not allowed"


@pytest.mark.parametrize("module", ["moto.server", "tensorflow"])
def test_a_missing_extra_is_one_line_with_what_to_do(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bucketlens"])
    command = typer.Typer(pretty_exceptions_enable=False)

    @command.command()
    def needs_more() -> None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    with pytest.raises(SystemExit) as raised:
        run_to_exit(command)
    assert raised.value.code == 1
    message = capsys.readouterr().err
    assert message.startswith(f"error: {module} is not installed; ")
    # The name is not ours on any package index: whoever owns it there would be installed.
    assert not re.search(r"pip install '?bucketlens", message)


def test_a_missing_module_of_ours_is_a_defect_and_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bucketlens"])
    command = typer.Typer(pretty_exceptions_enable=False)

    @command.command()
    def broken() -> None:
        raise ModuleNotFoundError("No module named 'model_build.gone'", name="model_build.gone")

    with pytest.raises(ModuleNotFoundError):
        run_to_exit(command)


def test_the_command_reference_is_not_stale() -> None:
    made = subprocess.run([sys.executable, ROOT / "docs" / "commands.py"], capture_output=True, text=True, check=True)
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == made.stdout, "run `make docs`"


@pytest.mark.parametrize("folder", ["bucketlens", "functions", "model_build", "docs"])
def test_nobody_is_told_to_install_a_name_that_is_not_ours(folder: str) -> None:
    told = [
        path
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".md") and re.search(r"pip install '?bucketlens", path.read_text(encoding="utf-8"))
    ]
    assert told == []
