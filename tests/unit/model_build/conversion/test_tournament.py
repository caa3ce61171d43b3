from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_build.conversion.tournament import LEAST_AGREEMENT, MOST_MOVED, SAME_LATENCY, Entrant, decide

NAMES = ("float32", "float16", "dynamic", "int8")


def entrants(failures: bool = True) -> st.SearchStrategy[list[Entrant]]:
    def one(name: str) -> st.SearchStrategy[Entrant]:
        return st.builds(
            Entrant,
            name=st.just(name),
            accuracy=st.sampled_from([0.9, 0.905, 0.91, 0.915, 1.0]),
            agreement=st.sampled_from([1.0, 0.97, 0.91]),
            moved=st.sampled_from([0.0, 0.05, 0.2]),
            latency_ms=st.floats(0.05, 50),
            size_bytes=st.integers(1, 10**8),
            failure=st.sampled_from([None, None, None, "cannot be loaded"]) if failures else st.none(),
        )

    return st.tuples(*map(one, NAMES)).map(list)


@given(entrants(), st.sampled_from([0.0, 0.005, 0.02]))
def test_the_winner_is_as_good_and_none_as_good_is_cheaper(table: list[Entrant], tolerance: float) -> None:
    outcome = decide(table, "float32", tolerance)
    running = {one.name: one for one in table if one.failure is None}
    assert set(outcome.reasons) == set(NAMES)
    if not running:
        assert outcome.winner is None
        return
    assert outcome.winner is not None
    winner = running[outcome.winner]
    reference = running.get("float32") or max(running.values(), key=lambda one: one.accuracy)

    def as_good(one: Entrant) -> bool:
        close = "float32" not in running or (one.agreement >= LEAST_AGREEMENT and one.moved <= MOST_MOVED)
        return one is reference or (close and round(reference.accuracy - one.accuracy, 9) <= tolerance)

    others = [one for one in running.values() if as_good(one)]
    assert as_good(winner)
    fastest = min(one.latency_ms for one in others)
    assert winner.latency_ms <= fastest * SAME_LATENCY
    assert all(one.size_bytes >= winner.size_bytes for one in others if one.latency_ms <= fastest * SAME_LATENCY)


def entrant(name: str, **changes: object) -> Entrant:
    values: dict[str, object] = {"accuracy": 0.9, "latency_ms": 5.0, "size_bytes": 1000, **changes}
    return Entrant(name, **values)  # type: ignore[arg-type]


def test_half_a_point_is_allowed_and_more_is_not() -> None:
    full = entrant("float32", accuracy=0.995)
    allowed = decide([full, entrant("int8", accuracy=0.99, latency_ms=1.0)], "float32")
    assert allowed.winner == "int8"
    refused = decide([full, entrant("int8", accuracy=0.9899, latency_ms=1.0)], "float32")
    assert refused.winner == "float32"
    assert refused.reasons["int8"] == "loses 0.51 points of validation accuracy, more than the allowed 0.5"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"agreement": 0.9}, "agrees with float32 on 90.0% of validation photos, less than the required 92%"),
        ({"moved": 0.15}, "changes probabilities by 0.150 on average, more than the allowed 0.1"),
        ({"failure": "cannot be loaded: FULLY_CONNECTED version 12"}, "FULLY_CONNECTED version 12"),
    ],
)
def test_a_lucky_accuracy_is_not_enough(changes: dict[str, object], told: str) -> None:
    outcome = decide([entrant("float32"), entrant("int8", latency_ms=1.0, **changes)], "float32")
    assert outcome.winner == "float32"
    assert told in outcome.reasons["int8"]


def test_latencies_that_are_equal_leave_it_to_the_size() -> None:
    table = [
        entrant("float32", latency_ms=1.0),
        entrant("float16", latency_ms=1.05, size_bytes=500),
        entrant("int8", latency_ms=1.2, size_bytes=250),
    ]
    outcome = decide(table, "float32")
    assert outcome.winner == "float16"
    assert outcome.reasons["float32"] == "as fast as float16, but larger"
    assert outcome.reasons["int8"] == "as accurate, but slower than float16"


def test_without_float32_the_most_accurate_is_the_measure() -> None:
    table = [
        entrant("float32", failure="crashes the interpreter (SIGSEGV)"),
        entrant("float16", accuracy=0.95, latency_ms=9.0),
        entrant("int8", accuracy=0.90, latency_ms=1.0),
    ]
    assert decide(table, "float32").winner == "float16"
    assert decide(table[:1], "float32").winner is None
