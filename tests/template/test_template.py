"""template.yaml keeps its promises, and the tools of others find nothing wrong with it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.template.checks import CHECKS
from tests.template.document import ROOT, TEMPLATE, Template, transformed
from tests.template.resolve import references


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_promise(template: Template, check: Callable[[Template], None]) -> None:
    check(template)


def test_the_functions_alone_become_what_they_become_in_the_whole(template: Template) -> None:
    assert template.cloudformation["Resources"] == transformed(template.source)["Resources"]


def test_no_circular_dependency(template: Template) -> None:
    resources = template.cloudformation["Resources"]
    graph = {name: references(resource) & resources.keys() for name, resource in resources.items()}
    assert len(list(TopologicalSorter(graph).static_order())) == len(resources)


@pytest.mark.slow
def test_cfn_lint_has_nothing_to_say() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("cfn-lint")), str(TEMPLATE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.sam
@pytest.mark.slow
def test_sam_validate(sam: Path, sam_environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        [str(sam), "validate", "--lint", "--template", str(TEMPLATE)],
        cwd=ROOT,
        env=dict(sam_environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is a valid SAM Template" in done.stdout
    assert not re.search(r"^[WE]\d{4}", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.slow
def test_checkov_finds_nothing_and_needs_every_suppression(checkov: Path, template: Template, tmp_path: Path) -> None:
    """Offline: what Checkov would ask of its maker's platform goes to a port where nobody listens."""
    # Checkov passes over resources whose condition does not hold by default.
    everything, count = re.subn(r'(?m)(^  EnableApi:\n.*\n    Default: )"false"', r'\1"true"', TEMPLATE.read_text())
    assert count == 1
    scanned = tmp_path / "template.yaml"
    scanned.write_text(everything)
    done = subprocess.run(
        [str(checkov), "-f", str(scanned), "--framework", "cloudformation", "--skip-download", "-o", "json"],
        env={**os.environ, "HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert (report["summary"]["failed"], report["summary"]["parsing_errors"]) == (0, 0)
    assert report["summary"]["passed"] >= 26
    suppressed = {
        (f"{resource['Type']}.{name}", skip["id"]): skip["comment"]
        for name, resource in template.source["Resources"].items()
        for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", [])
    }
    used = {(check["resource"], check["check_id"]) for check in report["results"]["skipped_checks"]}
    assert used == suppressed.keys()
    assert all(len(reason) > 40 for reason in suppressed.values())
