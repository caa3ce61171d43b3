from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_build.evaluation.gate import (
    Check,
    GateLimits,
    Verdict,
    accuracy_check,
    live_check,
    mcnemar,
    recall_check,
    refusal,
    tensors_check,
)
from model_build.metrics.answers import SplitMetrics, judge


def metrics(right: dict[str, tuple[int, int]]) -> SplitMetrics:
    """What a manifest says of classes of which so many of so many are right; the wrong ones are the next class."""
    labels = list(right)
    truth, predicted = [], []
    for index, (hits, total) in enumerate(right.values()):
        truth += [index] * total
        predicted += [index] * hits + [(index + 1) % len(labels)] * (total - hits)
    certain = np.eye(len(labels))[predicted]
    return judge(certain, np.asarray(truth), labels, 1.0).measured()


def test_a_good_model_passes() -> None:
    good = metrics({"a": (19, 20), "b": (18, 20)})
    assert good.interval_95[0] > 0.75
    assert accuracy_check(good, GateLimits()).passed
    assert recall_check(good, GateLimits()).passed
    assert recall_check(good, GateLimits()).detail == "the lowest is 90%, of b; the minimum is 50%"


def test_half_way_from_chance_is_asked_for() -> None:
    # Always answering the frequent class gives 80 %: 89 % is under half-way to 100 %.
    lopsided = metrics({"a": (80, 80), "b": (9, 20)})
    check = accuracy_check(lopsided, GateLimits())
    assert (check.passed, check.detail) == (
        False,
        "89.0% of 100 test photos are classified correctly; the minimum is 90.0%",
    )
    assert accuracy_check(lopsided, GateLimits(minimum_accuracy=0.8)).passed
    assert not accuracy_check(lopsided, GateLimits(minimum_accuracy=0.95)).passed


def test_what_could_be_luck_is_refused() -> None:
    check = accuracy_check(metrics({"a": (2, 2), "b": (1, 2)}), GateLimits())
    assert check.passed is False
    assert "must be above chance, 50.0%" in check.detail


def test_an_interval_from_below_the_minimum_judges_nothing_and_refuses_nothing() -> None:
    few = metrics({"a": (16, 20), "b": (14, 20)})
    check = accuracy_check(few, GateLimits(minimum_accuracy=0.7))
    assert (check.passed, check.word) == (None, "not judged")
    assert check.detail.endswith(
        "the minimum is 70.0%, but with so few photos it may be as low as 59.8% (95 % interval)"
    )
    assert Verdict((check,)).passed
    many = metrics({"a": (800, 1000), "b": (700, 1000)})
    assert accuracy_check(many, GateLimits(minimum_accuracy=0.7)).passed


def test_classes_under_the_floor_are_named_worst_first() -> None:
    check = recall_check(metrics({"a": (9, 10), "b": (4, 10), "c": (1, 10)}), GateLimits())
    assert (check.passed, check.detail) == (False, "below the minimum of 50%: c 10% of 10, b 40% of 10")
    assert recall_check(metrics({"a": (9, 10), "b": (4, 10)}), GateLimits(recall_floor=0.4)).passed


def test_an_imported_model_is_not_judged() -> None:
    verdict = Verdict((accuracy_check(None, GateLimits()), recall_check(None, GateLimits()), tensors_check({}, {})))
    assert verdict.passed
    assert [check.word for check in verdict.checks] == ["not judged"] * 3


def test_other_tensors_are_refused() -> None:
    assert tensors_check({"golden/01.png": "a"}, {"golden/01.png": "a"}).passed
    changed = tensors_check({"golden/01.png": "a"}, {"golden/01.png": "b"})
    assert changed.passed is False
    assert "golden/01.png decodes to different pixels" in changed.detail


def compare(ours: str, theirs: str, limits: GateLimits = GateLimits()) -> Check:  # noqa: B008
    return live_check("20261120T101500Z-5d313724", [c == "+" for c in ours], [c == "+" for c in theirs], limits)


def test_worse_than_live_is_refused_by_margin_or_by_significance() -> None:
    assert compare("+++-", "++-+").passed
    assert compare("+" * 99 + "-", "+" * 100).passed  # one point, as allowed
    assert not compare("+" * 98 + "--", "+" * 100).passed
    # Six lost of a thousand are within the margin, and too many for chance when none is won.
    significant = compare("+" * 994 + "-" * 6, "+" * 1000)
    assert (significant.passed, "McNemar p 0.016" in significant.detail) == (False, True)
    assert compare("+" * 98 + "--", "+" * 100, GateLimits(margin=0.05)).passed


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_a_probability_and_falls_with_losses(lost: int, gained: int) -> None:
    p = mcnemar(lost, gained)
    assert 0 < p <= 1
    assert mcnemar(lost + 1, gained) <= p
    # The two tails share what is equal.
    same = math.comb(lost + gained, lost) / 2 ** (lost + gained)
    assert p + mcnemar(gained, lost) == pytest.approx(1 + same)


def test_a_refusal_is_one_line_that_names_every_failed_check() -> None:
    verdict = Verdict((Check("accuracy", False, "40%"), Check("recall", True, ""), Check("live", False, "worse")))
    told = refusal("digits 1", verdict)
    assert told == "digits 1 does not pass the gate: accuracy: 40%; live: worse. To publish it anyway: --force 'REASON'"
    assert Verdict.from_document(verdict.to_document()) == verdict
