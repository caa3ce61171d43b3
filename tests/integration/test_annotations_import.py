"""Labels of other tools as decisions: what an export wrote comes back, and a file with a mistake changes nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bucketlens.annotations.examples import Example, decided
from bucketlens.annotations.export import ExportFormat, write
from bucketlens.annotations.importing import read, reviews
from bucketlens.reviews import Decision, Review, ReviewSession, ReviewTable, document
from classifier.errors import UserError
from classifier.model import Prediction
from classifier.records import ImageFacts, ModelIdentity, Rejection, Result
from tests.conftest import BUCKET, TABLE, Aws, create_table
from tests.support.images import png

pytestmark = pytest.mark.slow

ROOT = f"s3://{BUCKET}/incoming/"
WHEN = datetime(2026, 11, 21, 10, tzinfo=UTC)
MODEL = ModelIdentity("m", "20261120T101500Z-5d313724", "0" * 64)
KEYS = ("a/tom.png", "b/tom.png", "weiß/Ö l.png")
FILES = {
    ExportFormat.LABEL_STUDIO: "tasks.json",
    ExportFormat.COCO: "labels.json",
    ExportFormat.FIFTYONE: "labels.json",
    ExportFormat.GROUND_TRUTH: "output.manifest",
}


@pytest.fixture
def session(aws: Aws) -> ReviewSession:
    """Three classified images with the labels hat and dress, and a rejected one."""
    create_table(aws.dynamodb, "reviews")
    for at, key in enumerate(KEYS):
        put(aws, key, at, top=(Prediction("hat", 0.6), Prediction("dress", 0.4)))
    put(aws, "bad.png", 8, error=Rejection("image.corrupt", "PNG cannot be decoded"))
    aws.put("incoming/unseen.png", png(seed=9))
    return ReviewSession(aws.dynamodb, TABLE, ReviewTable(aws.dynamodb, "reviews"), "ann", lambda: WHEN)


def put(aws: Aws, key: str, seed: int, **outcome: Any) -> None:
    aws.put(f"incoming/{key}", png(seed=seed))
    etag = aws.s3.head_object(Bucket=BUCKET, Key=f"incoming/{key}")["ETag"].strip('"')
    made = Result(ImageFacts(BUCKET, f"incoming/{key}", etag=etag), MODEL, "t", "r", **outcome)
    aws.dynamodb.put_item(TableName=TABLE, Item=made.to_item(sequencer="0A", output_uri=None))


def uri(image: str) -> str:
    return image if image.startswith("s3://") else ROOT + image


def imported(session: ReviewSession, aws: Aws, path: Path) -> list[Review]:
    return reviews(read(path), session, aws.s3, uri)


def file(tmp_path: Path, content: str | bytes | Any) -> Path:
    path = tmp_path / "labels"
    if not isinstance(content, str | bytes):
        content = json.dumps(content)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("format_", FILES)
def test_what_is_exported_comes_back_as_the_same_decisions(
    session: ReviewSession, aws: Aws, tmp_path: Path, format_: ExportFormat
) -> None:
    for key, label in zip(KEYS, ("hat", "dress", "ö & <b>"), strict=True):
        session.decide(session.result(ROOT + key), Decision.CORRECTED, label)
    before = {one.image_uri: one for one in session.reviews.read()}
    assert not write(tmp_path / "out", decided(before.values()), format_, aws.s3)
    again = imported(session, aws, tmp_path / "out" / FILES[format_])
    assert {one.image_uri: one for one in again} == before
    pictures = sorted(path.read_bytes() for path in (tmp_path / "out").rglob("*.png"))
    assert pictures == (
        []
        if format_ in (ExportFormat.LABEL_STUDIO, ExportFormat.GROUND_TRUTH)
        else sorted(png(seed=at) for at in range(3))
    )


def test_the_decisions_that_are_printed_come_back(session: ReviewSession, aws: Aws, tmp_path: Path) -> None:
    session.decide(session.result(ROOT + KEYS[0]), Decision.RIGHT)
    session.decide(session.result(ROOT + KEYS[1]), Decision.WRONG)
    before = list(session.reviews.read())
    path = file(tmp_path, "".join(json.dumps(document(one)) + "\n" for one in before))
    assert sorted(map(repr, imported(session, aws, path))) == sorted(map(repr, before))
    # One line alone, which is JSON as a whole.
    assert imported(session, aws, file(tmp_path, document(before[0]))) == before[:1]


def test_a_csv_file_of_images_and_labels(session: ReviewSession, aws: Aws, tmp_path: Path) -> None:
    path = file(tmp_path, "\ufeffimage,label,decision,reviewer\r\na/tom.png,dress,,bob\r\nb/tom.png,,wrong,\r\n")
    first, second = imported(session, aws, path)
    assert (first.label, first.decision, first.reviewer) == ("dress", "corrected", "bob")
    assert (second.label, second.decision, second.reviewer) == (None, "wrong", "ann")


def test_tasks_for_label_studio_hold_the_models_answer(session: ReviewSession, aws: Aws, tmp_path: Path) -> None:
    examples = [Example.of_result(item) for item in session.read() if item["status"] == "classified"]
    write(tmp_path / "out", examples, ExportFormat.LABEL_STUDIO, aws.s3)
    tasks = json.loads((tmp_path / "out" / "tasks.json").read_text())
    (prediction,) = tasks[0]["predictions"]
    assert (prediction["model_version"], prediction["score"]) == (MODEL.version, 0.6)
    assert prediction["result"][0]["value"] == {"choices": ["hat"]}
    assert "annotations" not in tasks[0]
    assert imported(session, aws, tmp_path / "out" / "tasks.json") == []
    assert '<Choice value="dress" />' in (tmp_path / "out" / "labeling-config.xml").read_text()


def test_the_last_annotation_of_a_task_counts_and_a_skipped_one_does_not(
    session: ReviewSession, aws: Aws, tmp_path: Path
) -> None:
    def annotation(label: str, at: str, cancelled: bool = False) -> dict[str, Any]:
        result = [{"type": "choices", "value": {"choices": [label]}}]
        who = {"id": 1, "email": "bob@example.org"}
        return {"result": result, "updated_at": at, "was_cancelled": cancelled, "completed_by": who}

    annotations = [annotation("dress", "2026-02"), annotation("hat", "2026-01"), annotation("x", "2026-03", True)]
    tasks = [{"id": 7, "data": {"image": ROOT + KEYS[0]}, "annotations": annotations}]
    tasks.append({"id": 8, "data": {"image": ROOT + KEYS[1]}, "annotations": []})
    (review,) = imported(session, aws, file(tmp_path, tasks))
    assert (review.label, review.reviewer) == ("dress", "bob@example.org")


def test_a_manifest_of_rekognition_brings_images_that_were_never_classified(
    session: ReviewSession, aws: Aws, tmp_path: Path
) -> None:
    metadata = {
        "confidence": 1,
        "job-name": "labeling-job/testdataset-classification_Sunrise",
        "class-name": "Sunrise",
        "human-annotated": "yes",
        "creation-date": "2020-03-06T17:46:39.176",
        "type": "groundtruth/image-classification",
    }
    name = "testdataset-classification_Sunrise"
    line = {"source-ref": f"{ROOT}unseen.png", name: 1, f"{name}-metadata": metadata}
    (review,) = imported(session, aws, file(tmp_path, line))
    assert (review.label, review.decision, review.predicted_label) == ("Sunrise", "corrected", None)
    assert not write(tmp_path / "out", decided([review]), ExportFormat.FOLDERS, aws.s3)
    session.reviews.put(review)
    assert list(session.reviews.read()) == [review]
    metadata["human-annotated"] = "no"
    assert imported(session, aws, file(tmp_path, line)) == []


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("image,label\na/tom.png,hat\nnowhere.png,hat\n", "line 3: .*nowhere.png is not there"),
        ("image,label\nbad.png,hat\n", "line 2: .*was rejected"),
        ("image,label\na/tom.png,hat\na/tom.png,dress\n", "line 3: .*another label in the same file"),
        ("image,label,etag\na/tom.png,hat,e\n", "line 2: .*has been replaced"),
        ("image,label,decision\nunseen.png,,right\n", "line 2: .*has no result"),
        (f"image,label\na/tom.png,{'x' * 201}\n", "line 2: .*too long"),
    ],
)
def test_one_wrong_label_imports_nothing_and_is_named(
    session: ReviewSession, aws: Aws, tmp_path: Path, rows: str, says: str
) -> None:
    with pytest.raises(UserError, match=f"(?s)nothing is imported.*{says}"):
        imported(session, aws, file(tmp_path, rows))


def test_two_classes_of_one_image_are_no_decision(session: ReviewSession, aws: Aws, tmp_path: Path) -> None:
    categories = [{"id": 1, "name": "hat"}, {"id": 2, "name": "dress"}]
    annotations = [{"id": at, "image_id": 5, "category_id": at} for at in (1, 2)]
    coco = {"images": [{"id": 5, "file_name": "a/tom.png", "coco_url": ROOT + KEYS[0]}], "categories": categories}
    with pytest.raises(UserError, match=r"image 5: .*has 2 labels, not one: dress, hat"):
        imported(session, aws, file(tmp_path, {**coco, "annotations": annotations}))


@pytest.mark.parametrize(
    "content",
    [
        "image;label\na;b\n",
        "image,decision\na,maybe\n",
        b"\x89PNG\r\n\x1a\n\x00",
        "7",
        "null",
        '{"labels": {"a": 3}, "classes": []}',
        '{"images": [], "annotations": [{"image_id": 1, "category_id": 9}], "categories": []}',
        '[{"annotations": [{"result": 5}]}]',
        '[{"data": {"image": 5}, "annotations": [{"result": [{"type": "choices", "value": {"choices": ["a"]}}]}]}]',
        '{"source-ref": "s3://b/k"}\n{"broken',
        "[" * 100_000,
    ],
)
def test_another_file_is_refused_and_told_what_is_taken(tmp_path: Path, content: str | bytes) -> None:
    with pytest.raises(UserError, match="labels is not a CSV file"):
        read(file(tmp_path, content))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["labels", "annotations", "images", "categories", "classes", "source-ref", "data", "result"]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
)


@given(st.binary(min_size=1, max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_file_gives_a_traceback(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(content)
    try:
        found = read(path)
    except UserError:
        return
    assert all(isinstance(label, str) for one in found for label in one.labels)
