from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table

from bucketlens.cli.display import (
    Screen,
    class_table,
    confusion_table,
    conversion_lines,
    conversion_table,
    difference_table,
    gate_lines,
    versions_table,
)
from model_build.bundles.releases import PublishedVersion
from model_build.conversion.convert import Conversion, Converted
from model_build.evaluation.comparison import Change, Difference
from model_build.evaluation.gate import Check, Verdict
from model_build.metrics.scores import score
from model_build.training.observers import Epoch


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


def test_the_formats_are_shown_with_the_chosen_and_the_failed_one() -> None:
    good = Converted("int8", "model.int8.tflite", 2048, "", 0.98, latency_ms={"median_ms": 0.5, "p90_ms": 0.6})
    failed = Converted("dynamic", reason="cannot be [loaded]", failure="cannot be [loaded]")
    conversion = Conversion((good, failed), "int8", "ai-edge-litert 2.3.0")
    shown = text(conversion_table(conversion))
    chosen, other = (next(line for line in shown.split("\n") if name in line) for name in ("int8", "dynamic"))
    assert "(chosen)" in chosen
    assert "0.500 ms" in chosen
    assert "ms" not in other
    assert conversion_lines(conversion)[1] == "dynamic: cannot be [loaded]"


def test_changes_and_checks_are_shown_as_they_are() -> None:
    change = Change("[a]/1.png", None, "[a]", 0.9, "b", 0.6)
    shown = text(difference_table(Difference("one", "two", 1, (change,), 0, 0, ())))
    assert "[a]/1.png" in shown
    assert "0.900" in shown
    lines = gate_lines(Verdict((Check("recall", False, "low"), Check("live", None, "nothing is live"))))
    assert lines == ["gate: recall failed: low", "gate: live not judged: nothing is live"]


def test_epochs_are_counted_as_they_were_asked_for() -> None:
    console = Console(file=io.StringIO(), width=200)
    screen = Screen(console)
    screen.phases(head=30, epochs=6)
    screen.resumed(33)
    for number in (25, 35):
        screen.epoch(Epoch(number, 1.0, 0.5, 0.75, best=False), of=36)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == [
        "resuming after epoch 3 of an interrupted training",
        "last layer, pass 25 of 30: validation accuracy 0.7500, loss 0.5000",
        "epoch 5 of 6: validation accuracy 0.7500, loss 0.5000",
    ]
