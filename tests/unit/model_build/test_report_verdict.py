"""The headline of a bundle's report is green only for what has been proven."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model_build.evaluation import gate
from model_build.evaluation.gate import Evidence, GateLimits, Verdict, own_checks
from model_build.metrics.answers import SplitMetrics, judge
from model_build.report.model_report import render_report
from tests.support.bundles import LABELS, manifest_for


def measured(right: int, photos: int) -> SplitMetrics:
    """So many of so many photos, of all three classes alike."""
    truth = np.arange(photos) % len(LABELS)
    predicted = np.where(np.arange(photos) < right, truth, (truth + 1) % len(LABELS))
    return judge(np.eye(len(LABELS))[predicted], truth, LABELS, 1.0).measured()


def page(test: SplitMetrics, accepted: float) -> str:
    review = gate.TestedThreshold(1.0, 0.95, None, 0.0, 40, reached=accepted > 0, test_accepted=accepted)
    verdict = Verdict(own_checks(test, {}, {}, GateLimits()))
    evidence = Evidence(test=test, review=review, gate=verdict)
    return render_report(replace(manifest_for(), metrics=evidence.to_metrics()))


@pytest.mark.parametrize(
    ("right", "photos", "accepted", "head", "kind"),
    [
        (570, 600, 0.8, "Deploy: it passes every check", "good"),
        (30, 40, 0.8, "it may be as low as 59.8% (95 % interval)", "fix"),
        (570, 600, 0.0, "Not proven: nothing speaks against it, but it is sure of no test photo", "fix"),
        (30, 40, 0.0, "(95 % interval); and it is sure of no test photo", "fix"),
        (200, 600, 0.8, "Do not deploy, because minimum accuracy", "stop"),
    ],
)
def test_green_takes_a_proven_accuracy_and_a_model_that_accepts_something(
    right: int, photos: int, accepted: float, head: str, kind: str
) -> None:
    html = page(measured(right, photos), accepted)
    assert head in html
    assert f'class="verdict {kind}"' in html
    assert ("Deploy: " in html) == (kind == "good")
