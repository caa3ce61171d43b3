"""A diagnosis as a table on the terminal and as a part of the report."""

from __future__ import annotations

import io
import json
import math
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from bucketlens.cli.diagnosis_table import diagnosis_table
from model_build.diagnostics import Diagnostics
from model_build.diagnostics.diagnosis import Trained, summary_line
from model_build.diagnostics.diagnosis_html import diagnosis_html, heat_map
from model_build.metrics.scores import score
from model_build.training.observers import StepRecord, TrainingContext, VariableSample


def document(*, losses: tuple[float, ...] = (2.0, 1.5, 1.0, math.nan), label: str = "<cat>") -> dict[str, Any]:
    """A training of two classes, 50 photos to 2, whose loss ends as ``losses`` do."""
    diagnostics = Diagnostics(clock=lambda: 0.0)
    diagnostics.on_train_begin(None, TrainingContext((label, "dog"), (50, 2), 4, 4, 1, 1))
    weights = np.eye(3, dtype=np.float32)
    for step, loss in enumerate(losses):
        gradient = np.full_like(weights, 10.0**-step)
        samples = [VariableSample(f"conv_{n}/kernel", gradient, weights, weights * 0.9) for n in range(2)]
        diagnostics.on_step(StepRecord(step, 1, "finetune", loss, 1e-3, 0.01, 0.02, samples))
    written = json.dumps(diagnostics.finish().to_document(), allow_nan=False)
    result: dict[str, Any] = json.loads(written)
    return result


def shown(content: dict[str, Any]) -> str:
    run: Any = SimpleNamespace(record=SimpleNamespace(diagnostics=content))
    console = Console(file=io.StringIO(), width=140)
    console.print(diagnosis_table(Trained(run, score([], [], ["a"]))))
    written: str = console.file.getvalue()  # type: ignore[attr-defined]
    return written


def test_the_table_has_what_fired_and_what_to_do() -> None:
    text = shown(document())
    for expected in ("error", "exploding gradient", "step 4", "Lower the learning rate", "class imbalance", "<cat>"):
        assert expected in text
    assert "finetune: compute-bound, 133.3 images per second" in text


def test_names_that_look_like_markup_stay_as_they_are() -> None:
    assert "[red]cat" in shown(document(label="[red]cat"))


def test_a_quiet_training_is_a_line() -> None:
    content = document(losses=(2.0, 1.5))
    quiet = {**content, "rules": [{**rule, "finding": None, "outcome": "silent"} for rule in content["rules"]]}
    assert summary_line(quiet).startswith("none of 12 rules fired; silent: ")
    assert "since" not in shown(quiet)


def test_rules_with_nothing_to_look_at_are_named() -> None:
    assert "not observed: dead ReLU, overfit, overtraining, confusion" in summary_line(document())


def test_the_page_is_well_formed_and_escaped() -> None:
    html = diagnosis_html(document())
    ElementTree.fromstring(f"<div>{html}</div>")
    assert "<cat>" not in html
    assert "&lt;cat&gt;" in html
    assert html.count("<svg") == 2
    for expected in ("exploding gradient since step 4", "What to do.", "only_nan = False", "#exploding-tensor"):
        assert expected in html


def test_the_page_of_a_training_that_was_not_sampled() -> None:
    content = {**document(), "curves": {}, "step_times": []}
    assert "<svg" not in diagnosis_html(content)


def test_shades_of_the_heat_map_are_powers_of_ten() -> None:
    curves = {
        "layers": ["conv", "dense"],
        "steps": [1, 21, 41],
        "gradient": [[1e-3, 2e-3, 5e-1], [0.0, None, 1e-2]],
    }
    picture = ElementTree.fromstring(heat_map(curves, "gradient", "a label"))
    conv, dense = picture.findall("g")
    # 1e-3 and 2e-3 share a power and a rectangle; what is missing has none; 0 is fainter than all.
    assert [cell.get("fill-opacity") for cell in conv.findall("rect")] == ["0.4", "1.0"]
    assert [cell.get("fill-opacity") for cell in dense.findall("rect")] == ["0.1", "0.7"]
    assert conv.find("title").text == "conv: 0.001 to 0.5"  # type: ignore[union-attr]
    assert [legend.text for legend in picture.findall("text")[-3:]] == ["1e-3", "1e-2", "1e-1"]


@pytest.mark.parametrize("rows", [[[None, None]], [[0.0, 0.0]]])
def test_a_heat_map_of_nothing_still_draws(rows: list[list[float | None]]) -> None:
    ElementTree.fromstring(heat_map({"layers": ["a"], "steps": [1, 2], "x": rows}, "x", "l"))
