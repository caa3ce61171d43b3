"""A guaranteed risk, from validation photos to the bundle that obeys it."""

from __future__ import annotations

from pathlib import Path

import pytest

from classifier.bundle import MANIFEST_NAME, Manifest
from classifier.errors import UserError
from model_build.bundles.packaging import package
from model_build.choices import QuantizationChoice
from model_build.evaluation.gate import Evidence
from model_build.training.run import Run
from tests.unit.model_build.ready_runs import colour_photos, converted, ready_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Converted, right on all 15 validation photos and all 15 test photos."""
    root = tmp_path_factory.mktemp("risk")
    made = ready_run(root / "run", colour_photos(root / "photos"))
    converted(made)
    return made


def packaged(run: Run, out: Path, risk: float) -> Manifest:
    package(run, out, quantization=QuantizationChoice.FLOAT32, risk=risk)
    return Manifest.from_bytes((out / MANIFEST_NAME).read_bytes())


def test_what_15_right_answers_guarantee(run: Run, tmp_path: Path) -> None:
    manifest = packaged(run, tmp_path / "bundle", risk=0.2)
    evidence = Evidence.of(manifest)
    review, validation = evidence.review, evidence.validation
    assert review is not None
    assert validation is not None
    assert (review.guaranteed, review.reached, review.accepted) == (True, True, 1.0)
    assert 0.18 < (review.bound or 0) < 0.2
    assert manifest.review_threshold == review.value < 1
    assert validation.risk_coverage[-1] == (1.0, 0.0)
    page = (tmp_path / "bundle" / "report.html").read_text()
    assert "at most 20.00% of those are wrong, with 95% confidence" in page
    assert "Share of accepted predictions that are wrong, by share of photos accepted" in page


def test_what_they_cannot_guarantee_is_left_to_people(run: Run, tmp_path: Path) -> None:
    manifest = packaged(run, tmp_path / "bundle", risk=0.02)
    review = Evidence.of(manifest).review
    assert review is not None
    assert (review.reached, review.needed, manifest.review_threshold) == (False, 149, 1.0)
    assert "it would take about 149 validation photos" in (tmp_path / "bundle" / "report.html").read_text()


def test_a_threshold_by_hand_guarantees_nothing(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="guarantees no risk"):
        package(run, tmp_path / "bundle", risk=0.1, review_threshold=0.5)
