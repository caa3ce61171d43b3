from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model_build.data.similarity import Components, close_pairs

Hashes = NDArray[np.uint64]


def found(hashes: Hashes, distance: int) -> list[tuple[int, int]]:
    return [pair for i, j in close_pairs(hashes, distance) for pair in zip(i.tolist(), j.tolist(), strict=True)]


def brute_force(hashes: Hashes, distance: int) -> set[tuple[int, int]]:
    values = [int(value) for value in hashes]
    return {
        (i, j)
        for i, j in itertools.combinations(range(len(values)), 2)
        if (values[i] ^ values[j]).bit_count() <= distance
    }


@st.composite
def clustered(draw: st.DrawFn) -> Hashes:
    """Hashes of which many are a few bits apart, anywhere among the 64."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = [int(value) for value in rng.integers(0, 2**64, draw(st.integers(1, 4)), dtype=np.uint64)]
    for _ in range(draw(st.integers(0, 40))):
        base = values[rng.integers(len(values))]
        for bit in rng.choice(64, rng.integers(0, 14), replace=False):
            base ^= 1 << int(bit)
        values.append(base)
    return np.array(values, dtype=np.uint64)


@settings(max_examples=60)
@given(hashes=clustered(), distance=st.sampled_from([0, 1, 3, 4, 7, 10, 11]))
def test_the_banded_search_finds_exactly_what_brute_force_finds(hashes: Hashes, distance: int) -> None:
    pairs = found(hashes, distance)
    assert len(pairs) == len(set(pairs)), "a pair was given twice"
    assert set(pairs) == brute_force(hashes, distance)


@pytest.mark.parametrize("count", [0, 1])
def test_there_is_nothing_to_pair(count: int) -> None:
    assert found(np.zeros(count, dtype=np.uint64), 10) == []


def test_more_equal_hashes_than_a_chunk_holds_are_all_paired_in_pieces() -> None:
    count = 1600
    pieces = [len(i) for i, _ in close_pairs(np.full(count, 7, dtype=np.uint64), 3)]
    assert sum(pieces) == count * (count - 1) // 2
    assert len(pieces) > 1
    assert max(pieces) <= 1 << 20


@settings(max_examples=60)
@given(pairs=st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30))
def test_components_join_what_a_chain_of_pairs_connects(pairs: list[tuple[int, int]]) -> None:
    components = Components(20)
    groups = [{position} for position in range(20)]
    for one, other in pairs:
        components.join(one, other)
        merged = groups[one] | groups[other]
        for position in merged:
            groups[position] = merged
    assert components.roots().tolist() == [min(group) for group in groups]
    left, right = np.arange(20), np.arange(20)[::-1]
    assert components.apart(left, right).tolist() == [groups[i] != groups[j] for i, j in zip(left, right, strict=True)]
