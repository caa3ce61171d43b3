"""The command line: every command documents itself, and every failure is one line and an exit code."""

from __future__ import annotations

import os
import re
import signal
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
from model_build.choices import BACKBONES
from tests.conftest import ROOT
from tests.unit.model_build.photos import write_photos

CONTRACT = {
    "model sample-data",
    "model inspect",
    "model doctor",
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
    "results watch",
    "predict",
    "results review",
    "results export",
    "reconcile",
    "cost",
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
        (
            "results find",
            {},
            'no AWS region: set AWS_REGION, or a region in your AWS profile; for the local stack: eval "$(',
        ),
        ("model versions", {}, "give --at s3://bucket/models/ or set BUCKETLENS_BUCKET"),
        ("model publish tests/fixtures/bundle --to s3://b/models/", {}, "where the bucket has 3 to 63"),
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


@pytest.mark.parametrize("option", ["--at", "--to"])
@pytest.mark.parametrize("words", ["publish tests/fixtures/bundle", "promote x", "rollback", "versions"])
def test_the_model_location_has_two_spellings_and_a_default(
    words: str, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for arguments in ([option, "s3://b/models/"], []):
        monkeypatch.setenv("BUCKETLENS_BUCKET", "b")
        # A bucket of one letter, so that no run gets as far as AWS.
        done = CliRunner().invoke(app, ["model", *words.split(), *arguments])
        assert "'s3://b/models/' is not a model location" in str(done.exception)


def test_training_names_the_backbones() -> None:
    shown = " ".join(CliRunner().invoke(app, ["model", "train", "--help"]).stdout.split())
    assert ", ".join(BACKBONES) in shown


@pytest.mark.slow
def test_an_interrupted_training_says_how_to_go_on(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", {"red": 12, "green": 12})
    command = [sys.executable, "-m", "bucketlens.cli.main", "model", "train", str(photos), "--out", str(tmp_path / "r")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as training:
        assert training.stderr
        assert "training small_cnn" in training.stderr.readline()
        assert "2 classes" in training.stderr.readline()
        training.send_signal(signal.SIGINT)
        assert "run the same command again to resume" in training.stderr.read()
    assert training.returncode == 130


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
