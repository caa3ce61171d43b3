"""The page's columns hold what the items hold, whatever is in them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bucketlens.gallery.data import ATTRIBUTES, Picture, chunk, chunks
from tests.support.gallery import HOSTILE, item, many, rejected


def expanded(document: dict[str, Any], name: str) -> list[Any]:
    """A column as one value a result."""
    column = document["columns"].get(name, [None] * document["count"])
    if isinstance(column, list):
        return column
    return [None if code < 0 else column["values"][code] for code in column["codes"]]


KEYS = st.text(st.characters(exclude_categories=[]), min_size=1, max_size=20) | st.sampled_from(HOSTILE)
ITEMS = st.builds(
    item, KEYS, st.text(min_size=1), st.integers(0, 10000).map(lambda n: n / 10000), needs_review=st.booleans()
) | st.builds(rejected, KEYS)


@given(st.lists(ITEMS, min_size=1, max_size=30))
def test_every_attribute_comes_back_from_its_column(items: list[dict[str, Any]]) -> None:
    document = json.loads(json.dumps(chunk(items).document))
    assert document["count"] == len(items)
    for name in ATTRIBUTES:
        assert expanded(document, name) == [one.get(name) for one in items]
    top = document["columns"]["top"]
    predictions = [
        [{"label": top["values"][codes[at]], "confidence": codes[at + 1]} for at in range(0, len(codes), 2)]
        for codes in top["codes"]
    ]
    assert predictions == [one.get("top", []) for one in items]


def test_chunks_hold_every_item_once_in_order() -> None:
    items = list(many(2500))
    made = list(chunks(items, 1000))
    assert [one.document["count"] for one in made] == [1000, 1000, 500]
    assert [uri for one in made for uri in expanded(one.document, "image_uri")] == [one["image_uri"] for one in items]
    assert list(chunks([])) == []


def test_twenty_thousand_results_are_compact() -> None:
    sizes = [len(json.dumps(one.document, separators=(",", ":"))) for one in chunks(many(20_000))]
    assert sum(sizes) < 20_000 * 300


@given(KEYS, KEYS)
def test_a_picture_is_named_by_nothing_but_hexadecimal_digits(one: str, other: str) -> None:
    named = Picture("bucket", one, "etag").id
    assert len(named) == 24
    assert set(named) <= set("0123456789abcdef")
    assert (named == Picture("bucket", other, "etag").id) == (one == other)
    assert named != Picture("bucket", one, "another").id
    assert named != Picture("bucket", one, "etag", "version").id


def test_what_was_rejected_or_has_no_etag_is_never_fetched() -> None:
    assert Picture.of(rejected("incoming/bad.jpg")) is None
    assert Picture.of({**item(), "etag": None}) is None
    found = Picture.of(item("incoming/a b/ä.jpg", version_id="v1"))
    assert found is not None
    assert (found.key, found.version_id) == ("incoming/a b/ä.jpg", "v1")
