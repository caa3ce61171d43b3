"""What a decision says of a result, and the order in which people are asked."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bucketlens.reviews import OUTDATED, Candidate, Decision, Quotas, Review, annotated, look_first, queue
from classifier.errors import UserError
from tests.support.gallery import item, many, rejected

WHEN = "2026-11-21T10:00:00.000Z"


def reviewed(of: dict[str, Any], decision: Decision, label: str | None = None) -> Review:
    return Review.of(of, decision, label, "ann", WHEN)


def test_a_decision_tells_what_was_judged() -> None:
    made = reviewed(item(label="hat", confidence=0.61), Decision.CORRECTED, " dress ")
    assert (made.decision, made.label) == (Decision.CORRECTED, "dress")
    assert (made.predicted_label, made.predicted_confidence) == ("hat", 0.61)
    assert (made.model_name, made.reviewer, made.decided_at, made.etag) == ("clothing", "ann", WHEN, "0" * 32)


def test_the_models_own_label_is_no_correction() -> None:
    assert reviewed(item(label="hat"), Decision.CORRECTED, "hat").decision is Decision.RIGHT
    assert reviewed(item(label="hat"), Decision.RIGHT).label == "hat"
    assert reviewed(item(label="hat"), Decision.WRONG).label is None


@pytest.mark.parametrize(
    ("of", "decision", "label", "says"),
    [
        (rejected("a.jpg"), Decision.RIGHT, None, "no prediction to review.*image.corrupt"),
        (item(), Decision.CORRECTED, None, "needs the label"),
        (item(), Decision.CORRECTED, "  ", "needs the label"),
        (item(), Decision.CORRECTED, "x" * 201, "too long"),
        (item(), Decision.CORRECTED, "a\u202eb", "control characters"),
        (item(), Decision.RIGHT, "hat", "a label goes with 'corrected'"),
    ],
)
def test_what_cannot_be_decided_is_refused(
    of: dict[str, Any], decision: Decision, label: str | None, says: str
) -> None:
    with pytest.raises(UserError, match=says):
        reviewed(of, decision, label)


@pytest.mark.parametrize(
    ("decision", "label", "now", "says"),
    [
        (Decision.RIGHT, None, {}, "right"),
        (Decision.RIGHT, None, {"label": "dress"}, "corrected"),
        (Decision.CORRECTED, "dress", {}, "corrected"),
        (Decision.CORRECTED, "dress", {"label": "dress", "model_version": "later"}, "right"),
        (Decision.CORRECTED, "dress", {"etag": "1" * 32}, OUTDATED),
        (Decision.WRONG, None, {"model_version": "later"}, "wrong"),
        (Decision.WRONG, None, {"label": "dress"}, OUTDATED),
    ],
)
def test_a_decision_holds_for_the_same_content_and_judges_later_models(
    decision: Decision, label: str | None, now: dict[str, Any], says: str
) -> None:
    made = reviewed(item(), decision, label)
    assert annotated({**item(), **now}, made)["decision"] == says
    assert "decision" not in annotated(item(), None)


RESULTS = [one for one in many(300) if one["status"] == "classified"]


def test_first_comes_what_the_model_is_unsure_of_then_the_closest_call() -> None:
    def call(key: str, *confidences: float, needs_review: bool = False) -> dict[str, Any]:
        top = [{"label": f"l{at}", "confidence": one} for at, one in enumerate(confidences)]
        return item(key, "l0", confidences[0], top=top, needs_review=needs_review)

    clear = call("clear.jpg", 0.6, 0.1)
    close = call("close.jpg", 0.61, 0.39)
    alone = call("alone.jpg", 0.62)
    flagged = call("flagged.jpg", 0.9, 0.05, needs_review=True)
    again = {**call("again.jpg", 0.7, 0.3), "decision": OUTDATED}
    done = {**call("done.jpg", 0.5, 0.5), "decision": "right"}
    found = look_first([clear, alone, done, close, rejected("bad.jpg"), flagged, again], Quotas())
    assert [one["image_uri"].rpartition("/")[2] for one in found] == [
        "flagged.jpg",
        "close.jpg",
        "alone.jpg",
        "again.jpg",
        "clear.jpg",
    ]


def test_of_equal_calls_more_than_the_first_folder_is_looked_at() -> None:
    calls = [
        item(f"{folder}/{at}.jpg", "cat", 0.4, top=[{"label": one, "confidence": 0.4} for one in ("cat", "dog")])
        for folder in "abcd"
        for at in range(20)
    ]
    first = look_first(calls, Quotas())[:20]
    assert {one["image_uri"].split("/")[-2] for one in first} == set("abcd")


def test_the_novel_and_the_unsure_come_in_turn() -> None:
    def call(key: str, reason: str, confidence: float, novelty: float) -> dict[str, Any]:
        top = [{"label": "a", "confidence": confidence}, {"label": "b", "confidence": 0.3}]
        return item(
            key, "a", confidence, top=top, needs_review=bool(reason), review_reason=reason or None, novelty=novelty
        )

    found = look_first(
        [
            call("close.jpg", "confidence", 0.31, 0.1),
            call("less-close.jpg", "confidence", 0.35, 0.2),
            call("far.jpg", "confidence", 0.4, 0.2),
            call("novel.jpg", "novelty", 0.69, 0.96),
            call("more-novel.jpg", "novelty", 0.7, 1.0),
            call("known.jpg", "", 0.32, 0.95),
        ],
        Quotas(),
    )
    names = [one["image_uri"].rpartition("/")[2].removesuffix(".jpg") for one in found]
    assert names == ["close", "more-novel", "less-close", "novel", "far", "known"]


@given(st.permutations(RESULTS[:40]), st.integers(1, 5) | st.none(), st.integers(1, 9) | st.none())
def test_the_queue_keeps_its_quotas_and_does_not_depend_on_the_order_of_reading(
    items: list[dict[str, Any]], per_label: int | None, per_day: int | None
) -> None:
    quotas = Quotas(per_label, per_day)
    chosen = look_first(items, quotas)
    assert chosen == look_first(RESULTS[:40], quotas)
    labels = Counter(one["label"] for one in chosen)
    days = Counter(one["classified_at"][:10] for one in chosen)
    assert max(labels.values()) <= (per_label or 40)
    assert max(days.values()) <= (per_day or 40)
    # What is left out is left out because a quota is full.
    left = [one for one in items if one not in chosen]
    assert all(labels[one["label"]] == per_label or days[one["classified_at"][:10]] == per_day for one in left)


def test_a_candidate_knows_its_place() -> None:
    found = [one for at, result in enumerate(RESULTS) if (one := Candidate.of(at, result))]
    assert [RESULTS[one.position] for one in queue(found, Quotas())] == look_first(RESULTS, Quotas())


def test_labels_that_apply_side_by_side_are_no_close_call() -> None:
    top = [{"label": "hat", "confidence": 0.98}, {"label": "person", "confidence": 0.97}]
    alternatives = Candidate.of(0, item(confidence=0.98, top=top))
    together = Candidate.of(0, item(confidence=0.98, top=top, labels=["hat", "person"]))
    assert alternatives is not None
    assert together is not None
    assert (alternatives.lead, together.lead) == (0.01, 0.96)
