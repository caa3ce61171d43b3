"""Files of labels, from this program or another tool, as decisions: all of them, or none where one is wrong."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from bucketlens.annotations import coco, fiftyone, ground_truth, label_studio
from bucketlens.annotations.examples import Annotation, Example
from bucketlens.concurrency import as_done
from bucketlens.results import Item
from bucketlens.reviews import Decision, Review, ReviewSession, checked_label
from classifier.errors import UserError
from model_build.files import read_bytes

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_PROBLEMS_SHOWN = 10
AT_ONCE = 8
_KINDS = (
    "a CSV file with the columns image and label, the decisions that `results review --decided --format json` prints, a"
    " JSON export of Label Studio, labels.json of COCO or FiftyOne, nor a Ground Truth manifest"
)


def read(path: Path) -> list[Annotation]:
    """The annotations of a file, whose format is recognised by its content.

    Raises:
        UserError: it cannot be read, or is none of the formats.
    """
    data = read_bytes(path, "the file")
    try:
        found = _read(data)
        if not all(isinstance(text, str) for one in found for text in (one.image, one.etag or "", *one.labels)):
            raise TypeError("a name or label is not text")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        raise UserError(f"{path} is not {_KINDS} ({type(error).__name__}: {error})") from None
    return found


def _read(data: bytes) -> list[Annotation]:
    text = data.decode("utf-8-sig")
    try:
        document = json.loads(text)
    except json.JSONDecodeError:
        if text.lstrip().startswith("{"):
            return list(_of_lines([json.loads(line) for line in text.split("\n") if line.strip()]))
        return list(_of_csv(text))
    return list(_of_json(document))


def _of_json(document: Any) -> Iterator[Annotation]:
    if isinstance(document, list):
        return label_studio.read(document)
    if "annotations" in document:
        return coco.read(document)
    # A file of JSON Lines with one line is JSON, too.
    return fiftyone.read(document) if "labels" in document else _of_lines([document])


def _of_lines(lines: Sequence[dict[str, Any]]) -> Iterator[Annotation]:
    return ground_truth.read(lines) if "source-ref" in lines[0] else _of_decisions(lines)


def _of_decisions(lines: Sequence[dict[str, Any]]) -> Iterator[Annotation]:
    return (_decision(f"line {number}", line) for number, line in enumerate(lines, start=1))


def _of_csv(text: str) -> Iterator[Annotation]:
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    return (_decision(f"line {rows.line_num}", row) for row in rows)


def _decision(where: str, fields: Mapping[str, Any]) -> Annotation:
    label = fields.get("label")
    return Annotation(
        where,
        fields.get("image") or fields["image_uri"],
        (label,) if label else (),
        fields.get("etag") or None,
        # A label holds, whichever answer it was given for; "right" alone would speak of today's.
        Decision.CORRECTED if label else Decision(fields["decision"]),
        fields.get("reviewer") or None,
    )


def reviews(
    annotations: Sequence[Annotation], session: ReviewSession, s3: S3Client, image_uri: Callable[[str], str]
) -> list[Review]:
    """The decisions that ``annotations`` are, on the results as they are now.

    An image of the bucket without a result takes a label as well: what was labelled elsewhere can be trained on.

    Args:
        image_uri: the URI of an image given as a URI or key.

    Raises:
        UserError: some cannot be decided about; none is recorded. Names the first ten.
        BotoCoreError, ClientError: AWS does not answer or refuses.
    """
    names = _exported_names(session) if any("/" not in one.image for one in annotations) else {}

    def decide(one: Annotation) -> Review | str:
        uri = names.get(PurePosixPath(one.image).stem) or image_uri(one.image)
        try:
            return _review(one, uri, session, s3)
        except UserError as error:
            return f"{one.where}: {error}"

    made = dict(as_done(decide, annotations, AT_ONCE))
    found: dict[str, Review] = {}
    problems = []
    for one in annotations:
        review = made[one]
        if isinstance(review, str):
            problems.append(review)
        elif found.setdefault(review.image_uri, review).label != review.label:
            problems.append(f"{one.where}: {review.image_uri} has another label in the same file")
    if problems:
        more = f"\n... and {len(problems) - _PROBLEMS_SHOWN} more" if len(problems) > _PROBLEMS_SHOWN else ""
        shown = "\n".join(problems[:_PROBLEMS_SHOWN])
        raise UserError(f"nothing is imported: {len(problems)} of {len(annotations)} labels are wrong\n{shown}{more}")
    return list(found.values())


def _exported_names(session: ReviewSession) -> dict[str, str]:
    """URIs by the names, without suffix, that an export gives the images in their present state."""
    examples = (Example.of_result(item) for item in session.read() if item["status"] == "classified")
    return {PurePosixPath(example.name).stem: example.image_uri for example in examples}


def _review(one: Annotation, uri: str, session: ReviewSession, s3: S3Client) -> Review:
    if len(one.labels) > 1:
        raise UserError(f"{uri} has {len(one.labels)} labels, not one: {', '.join(one.labels)}")
    label = one.labels[0] if one.labels else None
    reviewer = one.reviewer or session.reviewer
    item = session.look(uri)
    if item is not None and item["status"] == "classified":
        review = Review.of(item, one.decision, label, reviewer, session.time())
    else:
        review = _without_prediction(one, uri, label, reviewer, session.time(), item, s3)
    if one.etag is not None and one.etag != review.etag:
        raise UserError(f"{uri} has been replaced since it was labelled")
    return review


def _without_prediction(
    one: Annotation, uri: str, label: str | None, reviewer: str, time: str, item: Item | None, s3: S3Client
) -> Review:
    if item is not None:
        raise UserError(f"{uri} was rejected ({item.get('error_code')}): nothing can be trained on it")
    if one.decision is not Decision.CORRECTED:
        raise UserError(f"{uri} has no result: there is no prediction that could be {one.decision}")
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        head = s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status in (400, 403, 404):
            raise UserError(f"{uri} is not there, or may not be read") from None
        raise
    return Review(uri, one.decision, checked_label(one.decision, label), reviewer, time, head["ETag"].strip('"'))
