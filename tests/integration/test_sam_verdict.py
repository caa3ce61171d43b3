"""sam-local's judgement: it accepts what the function leaves behind and nothing less."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bucketlens.local.sam.cases import Case, Oracle, photos_case, read_cases
from bucketlens.local.sam.verdict import Records, lines_of, problems_of
from bucketlens.local.stack import LocalStack
from classifier.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures"


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with LocalStack(ROOT / "template.yaml", port=0, event_source=False) as stack:
        yield stack


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle(FIXTURES / "bundle")


@pytest.fixture
def records(stack: LocalStack) -> Records:
    return Records(stack.aws.s3, stack.aws.dynamodb, stack.table, "predictions/")


@pytest.fixture
def case(oracle: Oracle, records: Records) -> Case:
    """Three good images and a broken one, in place and with nothing recorded."""
    (case,) = read_cases([ROOT / "events" / "sqs-s3-batch.json"], FIXTURES / "images", oracle)
    records.prepare(case)
    return case


def record(case: Case, records: Records, **changes: Any) -> None:
    """Leave behind what the function should; ``changes`` spoil the first image's label, confidence or status."""
    for number, expected in enumerate(case.expected):
        item = {"image_uri": {"S": expected.uri}}
        if expected.confidences is None:
            document: dict[str, Any] = {"status": "rejected", "error": {"code": expected.code}}
            item |= {"status": {"S": "rejected"}, "error_code": {"S": str(expected.code)}}
        else:
            label, confidence = max(expected.confidences.items(), key=lambda entry: entry[1])
            prediction = {"label": label, "confidence": confidence}
            document = {"status": "classified", "prediction": {**prediction, "top": [prediction]}}
            item |= {
                "status": {"S": "classified"},
                "label": {"S": changes.get("label", label) if number == 0 else label},
                "confidence": {"N": str(changes.get("confidence", confidence) if number == 0 else confidence)},
            }
        records.s3.put_object(
            Bucket=expected.bucket, Key=records.output_key(expected), Body=json.dumps(document).encode()
        )
        records.dynamodb.put_item(TableName=records.table, Item=item)


GOOD_ANSWER: dict[str, Any] = {"batchItemFailures": []}


def test_what_the_function_should_leave_is_accepted(case: Case, records: Records) -> None:
    record(case, records)
    assert problems_of(case, GOOD_ANSWER, records) == []
    assert [line.outcome for line in lines_of(case, records)] == ["red", "green", "green", "rejected (image.corrupt)"]


def test_nothing_recorded_is_a_problem_for_each_image_in_both_places(case: Case, records: Records) -> None:
    problems = problems_of(case, GOOD_ANSWER, records)
    assert sum("no result document" in problem for problem in problems) == 4
    assert sum("no item" in problem for problem in problems) == 4


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [({"label": "blue"}, "DynamoDB says blue"), ({"confidence": 0.5}, "DynamoDB says red (0.5)")],
)
def test_another_prediction_is_a_problem(case: Case, records: Records, changes: dict[str, Any], complaint: str) -> None:
    record(case, records, **changes)
    (problem,) = problems_of(case, GOOD_ANSWER, records)
    assert complaint in problem


def test_a_message_given_back_is_a_problem(case: Case, records: Records) -> None:
    record(case, records)
    (problem,) = problems_of(case, {"batchItemFailures": [{"itemIdentifier": "m-1"}]}, records)
    assert "batchItemFailures names ['m-1'], not []" in problem


def test_another_result_code_of_a_batch_operations_task_is_a_problem(oracle: Oracle, records: Records) -> None:
    (case,) = read_cases([ROOT / "events" / "s3-batch-operations-2.0.json"], FIXTURES / "images", oracle)
    records.prepare(case)
    record(case, records)
    assert problems_of(case, {"results": [{"resultCode": "PermanentFailure"}]}, records) == []
    (problem,) = problems_of(case, {"results": [{"resultCode": "Succeeded"}]}, records)
    assert "results are ['Succeeded'], not ['PermanentFailure']" in problem


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (
            {"errorMessage": "no model", "errorType": "ModelUnavailable"},
            "the function failed: ModelUnavailable: no model",
        ),
        (None, "not a JSON object"),
        ("Task timed out after 3 seconds", "not a JSON object"),
    ],
)
def test_an_error_is_a_problem_whatever_is_recorded(case: Case, records: Records, answer: Any, complaint: str) -> None:
    record(case, records)
    (problem,) = problems_of(case, answer, records)
    assert complaint in problem


def test_what_an_earlier_event_recorded_does_not_count(case: Case, records: Records) -> None:
    record(case, records)
    records.prepare(case)
    assert len(problems_of(case, GOOD_ANSWER, records)) == 8


def test_an_object_that_does_not_exist_owes_no_result(case: Case, records: Records) -> None:
    gone = replace(case, expected=(replace(case.expected[0], source=None, confidences=None),))
    records.prepare(gone)
    assert problems_of(gone, GOOD_ANSWER, records) == []
    record(gone, records)
    assert ["has a result document" in problem for problem in problems_of(gone, GOOD_ANSWER, records)] == [True]


def test_a_folder_of_photos_becomes_one_batch(oracle: Oracle, tmp_path: Path, stack: LocalStack) -> None:
    case = photos_case(FIXTURES / "images", stack.bucket, tmp_path, oracle)
    keys = [expected.key for expected in case.expected]
    assert keys == [f"incoming/{path.name}" for path in sorted((FIXTURES / "images").iterdir())]
    assert "incoming/grüne wiese + himmel.jpg" in keys
    assert case.batch.unreadable == {}


def test_an_empty_folder_of_photos_is_refused(oracle: Oracle, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="contains no files"):
        photos_case(tmp_path / "empty", "bucket", tmp_path, oracle)
