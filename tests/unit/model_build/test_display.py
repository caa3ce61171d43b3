from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table

from model_build.conversion import Conversion, Converted
from model_build.display import class_table, confusion_table, versions_table
from model_build.metrics import score
from model_build.releases import PublishedVersion


def text(table: Table | None) -> str:
    assert table is not None
    console = Console(file=io.StringIO(), width=100)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_labels_are_shown_as_they_are() -> None:
    scores = score([0, 1], [0, 0], ["[red]", "a/b"])
    assert "[red]" in text(class_table(scores))
    assert "[red]" in text(confusion_table(scores))


def test_long_labels_become_numbers_above_the_columns() -> None:
    shown = text(confusion_table(score([0, 1], [0, 1], ["long sleeved shirt", "outwear"])))
    assert "0 long sleeved shirt" in shown
    assert shown.count("outwear") == 1


def test_a_matrix_too_wide_for_a_terminal_is_not_shown() -> None:
    assert confusion_table(score([0], [0], [str(n) for n in range(13)])) is None


def test_versions_show_the_live_and_the_incomplete_one() -> None:
    shown = text(
        versions_table(
            [
                PublishedVersion("20261120T101500Z-5d313724", True, "digits", "2026", 0.99, 2048),
                PublishedVersion("20261119T101500Z-5d313724", False, None, None, None, None),
            ]
        )
    )
    first, second = (next(line for line in shown.split("\n") if day in line) for day in ("20261120", "20261119"))
    assert "live" in first
    assert "0.9900" in first
    assert "(incomplete)" in second


@pytest.mark.parametrize(
    ("float32", "int8", "chosen", "told"),
    [
        (0.99, 0.987, "int8", "int8 loses 0.30 points of accuracy (may lose 0.5): package takes int8"),
        (0.98, 0.99, "int8", "int8 gains 1.00 points"),
        (0.99, 0.98, "float32", "int8 loses 1.00 points of accuracy, over 0.5: package takes float32"),
    ],
)
def test_the_verdict_says_what_is_packaged_and_why(float32: float, int8: float, chosen: str, told: str) -> None:
    models = tuple(
        Converted(name, f"model.{name}.tflite", 1, "", accuracy, (0.0, 1.0), 1000, 0, {})
        for name, accuracy in (("float32", float32), ("int8", int8))
    )
    assert told in Conversion(models, chosen, "ai-edge-litert 2.3.0").verdict
