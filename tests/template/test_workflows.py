"""The GitHub workflows: every action is pinned by commit, and only deploying may ask for an AWS role."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# YAML 1.1 reads the key `on` as true.
ON = True


def read(name: str) -> dict[Any, Any]:
    workflow: dict[Any, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8"))
    return workflow


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_by_commit_and_says_its_release(path: Path) -> None:
    uses = re.findall(r"^\s*(?:- )?uses:(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert uses
    for action in uses:
        assert re.fullmatch(r" [\w-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_no_job_may_write_to_the_repository(path: Path) -> None:
    workflow = read(path.name)
    permissions = [workflow["permissions"], *(job.get("permissions", {}) for job in workflow["jobs"].values())]
    assert all(grant == "read" or scope == "id-token" for each in permissions for scope, grant in each.items())


def test_deploying_is_by_hand_to_an_environment_of_samconfig() -> None:
    workflow = read("deploy.yml")
    assert list(workflow[ON]) == ["workflow_dispatch"]
    environment = workflow[ON]["workflow_dispatch"]["inputs"]["environment"]
    samconfig = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    assert all("deploy" in samconfig[option] for option in environment["options"])
    assert workflow["jobs"]["deploy"]["permissions"]["id-token"] == "write"
    assert "id-token" not in str(read("test.yml"))


def test_what_is_typed_never_becomes_part_of_a_script() -> None:
    for path in WORKFLOWS:
        for job in read(path.name)["jobs"].values():
            assert not [step["run"] for step in job["steps"] if "${{" in step.get("run", "")]
