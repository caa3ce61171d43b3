"""One meaning a name: a public class stands once in the product."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

from tests.conftest import ROOT


def public_classes(source: str) -> list[str]:
    return [
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]


def product() -> list[Path]:
    return [path for package in ("functions", "model_build", "bucketlens") for path in (ROOT / package).rglob("*.py")]


def test_no_two_classes_share_a_name() -> None:
    found = Counter(name for path in product() for name in public_classes(path.read_text(encoding="utf-8")))
    assert len(found) > 100
    assert [name for name, count in found.items() if count > 1] == []


def test_classes_are_found_wherever_they_stand() -> None:
    assert public_classes("class A: ...\ndef f():\n    class A: ...\nclass _B: ...\n") == ["A", "A"]
