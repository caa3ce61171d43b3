"""The contract's document and item, to the letter."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier.errors import CorruptImage
from classifier.model import Prediction
from classifier.records import ImageFacts, ModelIdentity, Rejection, Result, ReviewReason, timestamp

IMAGE = ImageFacts("photos", "incoming/a/cat.jpg", None, "abc", 104837, "JPEG", 1280, 720)
MODEL = ModelIdentity("imagenet", "20261120T101500Z-5d313724", "5d" * 32)
TIME = "2026-11-20T12:00:00.123Z"
TOP = (Prediction("Egyptian cat", 0.82031), Prediction("tabby, tabby cat", 0.08594))
CLASSIFIED = Result(IMAGE, MODEL, TIME, "r-1", top=TOP, timing_ms={"fetch": 1.234567, "decode": 2.0, "predict": 3.0})
REJECTED = Result(
    ImageFacts("photos", "incoming/x", etag="e", size_bytes=3),
    MODEL,
    TIME,
    "r-2",
    error=Rejection("image.corrupt", "JPEG cannot be decoded"),
)


@pytest.mark.parametrize("labels", [("Egyptian cat", "tabby, tabby cat"), ()])
def test_a_multi_label_model_names_what_applies(labels: tuple[str, ...]) -> None:
    result = replace(CLASSIFIED, labels=labels)
    prediction = result.to_document()["prediction"]
    assert prediction.pop("labels") == list(labels)
    assert prediction == CLASSIFIED.to_document()["prediction"]
    item = result.to_item(sequencer=None, output_uri=None)
    assert item.pop("labels") == {"L": [{"S": label} for label in labels]}
    assert item == CLASSIFIED.to_item(sequencer=None, output_uri=None)


def test_the_document_of_a_classified_image() -> None:
    assert CLASSIFIED.to_document() == {
        "schema_version": "1",
        "status": "classified",
        "image": {
            "bucket": "photos",
            "key": "incoming/a/cat.jpg",
            "version_id": None,
            "etag": "abc",
            "size_bytes": 104837,
            "format": "JPEG",
            "width": 1280,
            "height": 720,
        },
        "prediction": {
            "label": "Egyptian cat",
            "confidence": 0.8203,
            "needs_review": False,
            "top": [
                {"label": "Egyptian cat", "confidence": 0.8203},
                {"label": "tabby, tabby cat", "confidence": 0.0859},
            ],
        },
        "model": {"name": "imagenet", "version": "20261120T101500Z-5d313724", "sha256": "5d" * 32},
        "timing_ms": {"fetch": 1.23, "decode": 2.0, "predict": 3.0},
        "classified_at": TIME,
        "request_id": "r-1",
    }


def test_the_document_of_a_rejected_image_has_an_error_in_place_of_a_prediction() -> None:
    document = REJECTED.to_document()
    assert document["status"] == "rejected"
    assert document["error"] == {"code": "image.corrupt", "message": "JPEG cannot be decoded"}
    assert "prediction" not in document
    assert set(document) == (set(CLASSIFIED.to_document()) - {"prediction"}) | {"error"}


def test_a_line_is_one_line_of_json() -> None:
    line = Result(ImageFacts("photos", "incoming/größe\n.jpg"), MODEL, TIME, "r", top=TOP).to_line()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line)["image"]["key"] == "incoming/größe\n.jpg"
    assert "größe".encode() in line


def test_the_item_of_a_classified_image() -> None:
    item = CLASSIFIED.to_item(sequencer="0A", output_uri="s3://photos/predictions/a/cat.jpg.json")
    assert item["image_uri"] == {"S": "s3://photos/incoming/a/cat.jpg"}
    assert item["confidence"] == {"N": "0.8203"}
    assert item["top"]["L"][1]["M"] == {"label": {"S": "tabby, tabby cat"}, "confidence": {"N": "0.0859"}}
    assert item["needs_review"] == {"BOOL": False}
    assert set(item) == {
        "image_uri",
        "status",
        "label",
        "confidence",
        "top",
        "needs_review",
        "model_name",
        "model_version",
        "model_sha256",
        "etag",
        "sequencer",
        "size_bytes",
        "format",
        "width",
        "height",
        "classified_at",
        "output_uri",
        "request_id",
    }


def test_attention_is_sparse() -> None:
    unsure = Result(IMAGE, MODEL, TIME, "r", top=TOP, review_reason=ReviewReason.CONFIDENCE)
    assert unsure.to_item(sequencer=None, output_uri=None)["attention"] == {"S": "review"}
    rejected = REJECTED.to_item(sequencer=None, output_uri=None)
    assert rejected["attention"] == {"S": "rejected"}
    assert rejected["error_code"] == {"S": "image.corrupt"}
    assert "label" not in rejected
    assert "attention" not in CLASSIFIED.to_item(sequencer=None, output_uri=None)


def test_novelty_and_the_reason_to_look_are_told_where_there_are_any() -> None:
    novel = Result(IMAGE, MODEL, TIME, "r", top=TOP, novelty=0.98765, review_reason=ReviewReason.NOVELTY)
    prediction = novel.to_document()["prediction"]
    assert (prediction["needs_review"], prediction["review_reason"], prediction["novelty"]) == (True, "novelty", 0.9877)
    item = novel.to_item(sequencer=None, output_uri=None)
    assert (item["attention"], item["novelty"], item["review_reason"]) == (
        {"S": "review"},
        {"N": "0.9877"},
        {"S": "novelty"},
    )
    plain = CLASSIFIED.to_document()["prediction"]
    assert plain.keys() == {"label", "confidence", "needs_review", "top"}
    assert not {"novelty", "review_reason"} & CLASSIFIED.to_item(sequencer=None, output_uri=None).keys()


def test_an_unfinished_attempt_is_marked() -> None:
    assert REJECTED.to_item(sequencer=None, output_uri=None, unfinished=True)["unfinished"] == {"BOOL": True}
    assert "unfinished" not in REJECTED.to_item(sequencer=None, output_uri=None)


@given(message=st.text(st.characters(), max_size=2000))
def test_a_rejection_is_one_short_line_of_unicode_whatever_the_decoder_says(message: str) -> None:
    rejection = Rejection.of(CorruptImage(message))
    assert rejection.code == "image.corrupt"
    assert len(rejection.message) <= 500
    assert len(rejection.message.splitlines()) <= 1
    rejection.message.encode()


@given(confidence=st.floats(0, 1), sequencer=st.none() | st.just(""))
def test_an_item_has_no_empty_strings_and_no_float_noise(confidence: float, sequencer: str | None) -> None:
    item = Result(IMAGE, MODEL, TIME, "", top=(Prediction("x", confidence),)).to_item(
        sequencer=sequencer, output_uri=""
    )
    assert all(value != {"S": ""} for value in item.values())
    assert len(item["confidence"]["N"]) <= 6
    assert float(item["confidence"]["N"]) == pytest.approx(confidence, abs=5.1e-5)


def test_timestamps_sort_as_text_whatever_the_zone() -> None:
    assert timestamp(datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)) == TIME
    east = timezone(timedelta(hours=9))
    assert timestamp(datetime(2026, 11, 20, 21, 0, 0, 123000, tzinfo=east)) == TIME
