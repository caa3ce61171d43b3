"""The commands of README and guides, run as they stand, and the files they name."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.e2e.conftest import BIN, Application
from tests.support.bundles import FIXTURES


@pytest.mark.slow
def test_the_dynamodb_commands_answer_what_they_ask(application: Application) -> None:
    commands = re.findall(
        r"```bash\n(aws dynamodb .*?)```", (ROOT / "docs" / "results.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert len(commands) == 3
    application.run(
        "aws", "s3", "cp", FIXTURES / "images", application.stack.deployment.outputs["InputUri"], "--recursive"
    )
    application.until(lambda: len(application.items()) == len(list((FIXTURES / "images").iterdir())))
    answers = []
    for command in commands:
        done = subprocess.run(
            ["bash", "-euc", command],
            env=application.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        answers.append(json.loads(done.stdout))
    one, by_label, rejected = answers
    assert one["Item"]["label"] == {"S": "red"}
    assert [item["image_uri"]["S"].rpartition("/")[2] for item in by_label["Items"]] == ["red.png"]
    assert {item["error_code"]["S"] for item in rejected["Items"]} == {"image.corrupt", "image.unsupported_format"}


@pytest.mark.slow
def test_the_console_script_says_the_same(application: Application) -> None:
    application.run(
        "aws", "s3", "cp", FIXTURES / "images" / "red.png", application.stack.deployment.outputs["InputUri"]
    )
    waited = application.run("bucketlens", "results", "find", "--wait", "all", "--format", "json")
    one = json.loads(application.run("bucketlens", "results", "get", "red.png").stdout)
    assert one["prediction"]["label"] == "red"
    assert json.loads(waited.stdout) == one
    uri = f"s3://{application.stack.bucket}/predictions/red.png.json"
    in_s3 = json.loads(application.run("aws", "s3", "cp", uri, "-").stdout)
    assert {**in_s3, "timing_ms": {}} == one
    table = application.run("bucketlens", "results", "find", "--label", "red").stdout
    assert "incoming/red.png" in table
    nothing = application.run("bucketlens", "results", "find", "--rejected")
    assert nothing.stdout == ""
    assert "no results match" in nothing.stderr


@pytest.mark.slow
def test_results_are_watched_as_they_come_until_ctrl_c(application: Application) -> None:
    command = [str(BIN / "bucketlens"), "results", "watch", "--interval", "1", "--format", "json"]
    with subprocess.Popen(
        command, env=application.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout
        assert watching.stderr
        assert watching.stderr.readline() == "waiting for results; Ctrl-C ends it\n"
        application.run(
            "aws", "s3", "cp", FIXTURES / "images" / "red.png", application.stack.deployment.outputs["InputUri"]
        )
        assert json.loads(watching.stdout.readline())["prediction"]["label"] == "red"
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 0
        assert (watching.stdout.read(), watching.stderr.read()) == ("", "")


FOLDERS = r"events|functions|model_build|bucketlens|tests|docs|benchmarks|\.ci|\.github"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_the_pages_name_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(rf"`((?:{FOLDERS})/[\w./-]*)`", text))
    named |= set(re.findall(r"(events/[\w.-]+\.json)", text))
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_the_pages_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8")):
        linked = page.parent / target if target else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_shows_the_two_commands_that_the_gate_runs() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line in ("make demo", "make test")] == ["make demo", "make test"]
