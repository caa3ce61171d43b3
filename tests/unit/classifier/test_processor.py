"""Where an image's document goes."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from classifier.processor import output_key

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=1015).filter(
    lambda text: len(text.encode()) <= 1015
)


def test_the_document_is_named_after_the_image() -> None:
    assert output_key("incoming/a/cat.jpg", "incoming/", "predictions/") == "predictions/a/cat.jpg.json"
    assert output_key("cat.jpg", "", "") == "cat.jpg.json"


@given(name=KEYS)
@example("a" * 1015)
@example("a" * 1007)
@example("a" * 1008)
@example("é" * 507)
@example("a" + "🙂" * 253)
def test_a_documents_key_is_one_that_s3_takes(name: str) -> None:
    key = output_key(f"incoming/{name}", "incoming/", "predictions/")
    assert len(key.encode()) <= 1024
    assert key.endswith(".json")
    whole = f"predictions/{name}.json"
    if len(whole.encode()) <= 1024:
        assert key == whole
    else:
        cut, _, end = key.rpartition("~")
        assert whole.startswith(cut)
        assert len(key.encode()) > 1020
        assert len(end) == len("0123456789abcdef.json")


def test_long_keys_that_differ_at_their_end_have_documents_of_their_own() -> None:
    first, second = (output_key(f"incoming/{'x' * 1014}{end}", "incoming/", "predictions/") for end in "ab")
    assert first != second
    assert first == f"predictions/{'x' * 990}~{first[-21:]}"
