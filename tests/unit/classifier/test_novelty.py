"""Novelty: a percentile whatever the embedding is, the same in every process, and a reason to look at a prediction."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from classifier.bundle import NOVELTY_NAME, Manifest, NoveltySpec, Quantization
from classifier.classification import review_reason
from classifier.errors import ModelIncompatibleError, ModelIntegrityError
from classifier.golden import GOLDEN_NAME, GoldenSet
from classifier.imaging import decode
from classifier.model import Model, Prediction, inspect
from classifier.novelty import KnownPhotos
from classifier.records import ReviewReason
from tests.support.bundles import bundle_files, known_colours, manifest_for, model_bytes, novel_manifest
from tests.support.images import png

MODELS = ("float32_embedding", "int8_embedding")
FLOATS = st.integers(-1000, 1000).map(lambda whole: whole / 64)  # exact in float32
EMBEDDINGS = arrays(np.float32, (4, 12), elements=FLOATS)


def red_and(other: str) -> Any:
    """A picture whose upper half is red."""
    tensors = [decode(png(colour), height=32, width=32).tensor for colour in ("red", other)]
    return np.concatenate([tensors[0][:16], tensors[1][:16]])


def novel_model(name: str) -> Model:
    return Model.load(model_bytes(name), novel_manifest(name), known_colours().to_bytes())


@given(EMBEDDINGS)
def test_novelty_is_a_share(embeddings: Any) -> None:
    known = KnownPhotos.of(embeddings[:3], np.linspace(0.1, 1.9, 7, dtype=np.float32))
    assert known.novelty(embeddings[3]) in [pytest.approx(nearer / 7) for nearer in range(8)]


@given(EMBEDDINGS)
def test_eight_bits_keep_a_photo_where_it_is(embeddings: Any) -> None:
    known = KnownPhotos.of(embeddings, np.ones(1, np.float32))
    for embedding in embeddings[np.abs(embeddings).max(axis=1) > 0]:
        assert known.distance(embedding) < 0.05


def test_the_farther_the_more_novel() -> None:
    known = known_colours()
    red, blue = np.tile(np.eye(3, dtype=np.float32), 4)[[0, 2]]
    novelties = [known.novelty(red + blue * np.float32(share)) for share in (0, 0.1, 0.2, 0.4, 1)]
    assert novelties == sorted(novelties)
    assert novelties[0] == 0
    assert novelties[-1] == pytest.approx(0.8)
    assert len(set(novelties)) > 3
    assert [known.novelty(red * np.float32(length)) for length in (1, 3, 10)] == pytest.approx([0, 0.45, 1], abs=0.2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_as_novel_as_can_be(value: float) -> None:
    assert known_colours().novelty(np.full(12, value, np.float32)) == 1


def test_no_embedding_at_all_is_novel() -> None:
    assert known_colours().novelty(np.zeros(12, np.float32)) == 1


def test_known_photos_are_read_back_as_they_were_written() -> None:
    data = known_colours().to_bytes()
    again = KnownPhotos.from_bytes(data)
    assert again.to_bytes() == data
    assert (again.photos, again.features) == (2, 12)


def _saved(*stored: Any) -> bytes:
    stream = io.BytesIO()
    for one in stored:
        np.save(stream, one)
    return stream.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no arrays",
        known_colours().to_bytes()[:-1],
        _saved(np.zeros((2, 3), np.int8), np.zeros(2, np.float32)),
        _saved(np.zeros((2, 3), np.float32), np.zeros(2, np.float32), np.zeros(3, np.float32)),
        _saved(np.zeros((0, 3), np.int8), np.zeros(0, np.float32), np.zeros(3, np.float32)),
        _saved(np.zeros((2, 3), np.int8), np.zeros(1, np.float32), np.zeros(3, np.float32)),
        _saved(np.zeros((2, 3), np.int8), np.zeros(2, np.float32), np.zeros(0, np.float32)),
        _saved(np.array([{"a": 1}], object), np.zeros(2, np.float32), np.zeros(3, np.float32)),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ModelIncompatibleError, match=NOVELTY_NAME):
        KnownPhotos.from_bytes(data)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_gives_its_embedding_dequantized(name: str) -> None:
    picture = red_and("blue")
    answer = Model.load(model_bytes(name), manifest_for(name)).answer(picture)
    quarters = picture.reshape(2, 16, 2, 16, 3).mean(axis=(1, 3)).ravel() / 255
    assert answer.embedding is not None
    assert answer.embedding == pytest.approx(quarters, abs=0.01)
    assert answer.novelty is None
    assert answer.probabilities.argmax() in (0, 2)


@pytest.mark.parametrize("name", MODELS)
def test_what_a_model_knows_is_not_novel_and_the_rest_is(name: str) -> None:
    model = novel_model(name)
    novelties = [model.answer(red_and(other)).novelty for other in ("red", "blue")]
    assert novelties == pytest.approx([0.3, 1])


def test_outputs_are_told_apart_by_how_many_labels_there_are() -> None:
    facts = inspect(model_bytes("int8_embedding"), 3)
    assert (facts.outputs, facts.embedding and facts.embedding.features) == (3, 12)
    assert facts.embedding is not None
    assert facts.embedding.quantization != facts.output_quantization
    other = inspect(model_bytes("int8_embedding"), 12)
    assert (other.outputs, other.embedding and other.embedding.features) == (12, 3)


@pytest.mark.parametrize(
    "change",
    [{"name": "other"}, {"features": 11}, {"dtype": "int8"}, {"quantization": Quantization(0.5, 0)}],
)
def test_a_manifest_that_speaks_of_another_embedding_is_refused(change: dict[str, Any]) -> None:
    manifest = manifest_for("float32_embedding")
    assert manifest.embedding is not None
    for wrong in (None, replace(manifest.embedding, **change)):
        with pytest.raises(ModelIncompatibleError, match=r"embedding is .* its manifest says"):
            Model.load(model_bytes("float32_embedding"), replace(manifest, embedding=wrong))


def test_known_photos_of_another_model_are_refused() -> None:
    others = KnownPhotos.of(np.ones((2, 5), np.float32), np.zeros(3, np.float32)).to_bytes()
    with pytest.raises(ModelIncompatibleError, match="have 5 features"):
        Model.load(model_bytes("float32_embedding"), novel_manifest(), others)


def test_a_manifest_with_novelty_is_read_back_and_an_incomplete_one_refused() -> None:
    manifest = novel_manifest("int8_embedding")
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
    for wrong in ({"embedding": None}, {"files": manifest_for().files}, {"novelty": NoveltySpec(1.5)}):
        with pytest.raises(ModelIntegrityError, match="novelty limit"):
            Manifest.from_bytes(novel_manifest(**wrong).to_bytes())


@pytest.mark.parametrize("name", MODELS)
def test_golden_photos_prove_novelty(name: str) -> None:
    files = bundle_files(name, novelty=NoveltySpec(0.95))
    golden = GoldenSet.from_bytes(files[GOLDEN_NAME])
    assert all(photo.novelty is not None for photo in golden.photos)
    model = novel_model(name)
    model.check_golden(golden, files.__getitem__)
    wrong = replace(golden, photos=(replace(golden.photos[0], novelty=0.5),))
    with pytest.raises(ModelIncompatibleError, match=r"golden/red\.png has novelty 0\.3, not its published 0\.5"):
        model.check_golden(wrong, files.__getitem__)
    with pytest.raises(ModelIncompatibleError, match="has novelty None"):
        Model.load(model_bytes(name), manifest_for(name)).check_golden(golden, files.__getitem__)


@pytest.mark.parametrize(
    ("confidence", "novelty", "reason"),
    [
        (0.9, None, None),
        (0.9, 0.95, None),
        (0.9, 0.96, ReviewReason.NOVELTY),
        (0.4, 0.95, ReviewReason.CONFIDENCE),
        (0.4, None, ReviewReason.CONFIDENCE),
        (0.4, 0.96, ReviewReason.NOVELTY),
    ],
)
def test_a_prediction_is_looked_at_for_its_novelty_or_its_confidence(
    confidence: float, novelty: float | None, reason: ReviewReason | None
) -> None:
    assert review_reason(Prediction("red", confidence), novelty, novel_manifest()) is reason
    assert review_reason(Prediction("red", confidence), novelty, novel_manifest(), 0.0) is not ReviewReason.CONFIDENCE
    assert review_reason(Prediction("red", confidence), novelty, manifest_for()) is not ReviewReason.NOVELTY
