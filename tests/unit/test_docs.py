"""The pages about the code name files that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGES = ("README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/training.md", "docs/experiments.md")
FOLDERS = ("functions", "model_build", "bucketlens", "tests", "events", "benchmarks", "docs", ".ci", ".github")


def named(page: str) -> set[str]:
    """Paths of the repository in code marks and link targets; links are relative to the page, marks to the root."""
    text = (ROOT / page).read_text(encoding="utf-8")
    marks = {mark for mark in re.findall(r"`([\w.-]+/[\w./-]*)`", text) if mark.split("/")[0] in FOLDERS}
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    return marks | {(ROOT / page).parent.joinpath(link).resolve().relative_to(ROOT).as_posix() for link in links}


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_a_page_names_is_there(page: str) -> None:
    found = named(page)
    assert found
    assert sorted(path for path in found if not (ROOT / path).exists()) == []


def test_the_layers_of_the_architecture_are_the_packages() -> None:
    text = " ".join((ROOT / "docs/architecture.md").read_text(encoding="utf-8").split())
    told = re.search(r"imports only those before it: ([\w, ]+)\.", text)
    assert told is not None
    packages = {path.parent.name for path in (ROOT / "model_build").glob("*/__init__.py")}
    assert set(told[1].split(", ")) == packages


def test_modules_in_the_picture_are_files() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    picture = re.search(r"subgraph function.*?\n(.*?)\n    end", text, re.DOTALL)
    assert picture is not None
    names = set(re.findall(r"\b[a-z]+\b", re.sub(r'"[^"]*"', "", picture[1])))
    assert names
    assert sorted(name for name in names if not Path(ROOT, f"functions/classifier/{name}.py").exists()) == []
