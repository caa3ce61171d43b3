"""Publishing, promoting and rolling back against S3 over HTTP, and what the function's own loader then sees."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from classifier.bundle import MANIFEST_NAME, ModelUri
from classifier.errors import ModelIntegrityError, UserError
from classifier.loader import BundleLoader
from model_build.bundles import releases
from model_build.bundles.importing import ImportRequest, import_model
from model_build.bundles.publish import publish_bundle
from tests.conftest import BUCKET, Aws
from tests.unit.model_build.photos import COLOURS, FIXTURES, photo

pytestmark = pytest.mark.slow

URI = f"s3://{BUCKET}/models/"
START = datetime(2026, 11, 20, 10, 15, tzinfo=UTC)


def bundle(folder: Path, number: int = 0, variant: str = "uint8_quantized") -> Path:
    """A bundle made ``number`` minutes after :data:`START`."""
    golden = folder / "photos"
    golden.mkdir(exist_ok=True)
    for label, colour in COLOURS.items():
        (golden / f"{label}.png").write_bytes(photo(colour))
    out = folder / f"bundle-{number}"
    request = ImportRequest(FIXTURES / f"{variant}.tflite", FIXTURES / "labels.txt", golden=golden)
    import_model(request, out, now=lambda: START + timedelta(minutes=number))
    return out


def pointer(aws: Aws) -> Any:
    return json.loads(aws.read("models/current.json"))


def test_a_published_bundle_is_what_the_function_loads(aws: Aws, tmp_path: Path) -> None:
    version = publish_bundle(bundle(tmp_path), URI, aws.s3).version

    assert set(pointer(aws)) == {"version", "manifest_sha256"}
    loaded = BundleLoader(ModelUri.parse(URI), aws.s3).load()
    assert loaded.manifest.version == version
    assert len(loaded.golden().photos) == 3
    assert f"models/{version}/report.html" in aws.keys("models/")


def test_a_bundle_with_a_label_twice_is_refused(aws: Aws, tmp_path: Path) -> None:
    made = bundle(tmp_path)
    manifest = (made / "manifest.json").read_bytes()
    (made / "manifest.json").write_bytes(manifest.replace(b'"blue"', b'"red"'))
    with pytest.raises(UserError, match="has the label 'red' twice"):
        publish_bundle(made, URI, aws.s3)
    assert aws.keys("models/") == []


def test_publishing_again_uploads_nothing(aws: Aws, tmp_path: Path) -> None:
    made = bundle(tmp_path)
    first = publish_bundle(made, URI, aws.s3)
    before = aws.keys("models/")
    again = publish_bundle(made, URI, aws.s3)
    assert (again.version, again.uploaded) == (first.version, ())
    assert again.present == first.uploaded
    assert first.uploaded[-1].endswith(MANIFEST_NAME)
    assert aws.keys("models/") == before


def test_an_interrupted_publication_is_completed(aws: Aws, tmp_path: Path) -> None:
    made = bundle(tmp_path)
    done = publish_bundle(made, URI, aws.s3, promote=False)
    for key in done.uploaded[3:]:
        aws.s3.delete_object(Bucket=BUCKET, Key=key)
    with pytest.raises(UserError, match="there is no version"):
        releases.promote(done.version, URI, aws.s3)
    assert publish_bundle(made, URI, aws.s3).uploaded == done.uploaded[3:]
    assert pointer(aws)["version"] == done.version


def test_other_content_under_the_version_is_never_overwritten(aws: Aws, tmp_path: Path) -> None:
    made = bundle(tmp_path)
    version = publish_bundle(made, URI, aws.s3, promote=False).version
    key = f"models/{version}/model.tflite"
    aws.put(key, b"something else")
    with pytest.raises(UserError, match="exists with other content"):
        publish_bundle(made, URI, aws.s3)
    assert aws.read(key) == b"something else"
    assert "models/current.json" not in aws.keys("models/")


def test_a_tampered_bundle_is_not_published(aws: Aws, tmp_path: Path) -> None:
    made = bundle(tmp_path)
    (made / "report.html").write_text("all is well")
    with pytest.raises(ModelIntegrityError, match=r"report\.html"):
        publish_bundle(made, URI, aws.s3)
    assert aws.keys("models/") == []


def test_a_dry_run_checks_and_writes_nothing(aws: Aws, tmp_path: Path) -> None:
    done = publish_bundle(bundle(tmp_path), URI, aws.s3, dry_run=True)
    assert len(done.uploaded) == 7
    assert aws.keys("models/") == []


def test_promote_and_roll_back_step_by_step(aws: Aws, tmp_path: Path) -> None:
    one, two, three = (publish_bundle(bundle(tmp_path, number), URI, aws.s3).version for number in range(3))
    assert pointer(aws)["version"] == three

    assert releases.rollback(URI, aws.s3, dry_run=True) == (three, two)
    assert pointer(aws)["version"] == three
    assert releases.rollback(URI, aws.s3) == (three, two)
    assert releases.rollback(URI, aws.s3) == (two, one)
    assert pointer(aws)["version"] == one
    with pytest.raises(UserError, match="no earlier version to roll back to"):
        releases.rollback(URI, aws.s3)

    assert releases.promote(three, URI, aws.s3, dry_run=True).version == one
    assert releases.promote(three, URI, aws.s3).version == one
    assert releases.rollback(URI, aws.s3) == (three, one)


def test_versions_lists_newest_first_and_marks_the_live_one(aws: Aws, tmp_path: Path) -> None:
    one = publish_bundle(bundle(tmp_path, 1), URI, aws.s3).version
    two = publish_bundle(bundle(tmp_path, 2), URI, aws.s3, promote=False).version
    aws.put("models/20260101T000000Z-00000000/model.tflite", b"half a publication")
    aws.put("models/notes/readme.txt", b"not a version")
    found = releases.versions(URI, aws.s3)
    assert [(each.version, each.live, each.name) for each in found] == [
        (two, False, "uint8_quantized"),
        (one, True, "uint8_quantized"),
        ("20260101T000000Z-00000000", False, None),
    ]


def test_a_lost_race_changes_nothing_and_says_so(aws: Aws, tmp_path: Path) -> None:
    one = publish_bundle(bundle(tmp_path, 1), URI, aws.s3).version
    where = releases.parse_prefix(URI)
    seen = releases.live(aws.s3, where)
    two = publish_bundle(bundle(tmp_path, 2), URI, aws.s3).version
    history = aws.keys("models/history/")
    for before in (seen, releases.Live(None, None)):
        with pytest.raises(UserError, match="another process changed"):
            releases.set_live(aws.s3, where, one, "0" * 64, before)
    assert pointer(aws)["version"] == two
    assert aws.keys("models/history/") == history


def test_a_publication_overtaken_during_its_upload_does_not_win(aws: Aws, tmp_path: Path) -> None:
    slow, fast = bundle(tmp_path, 1), bundle(tmp_path, 2)
    published: list[str] = []

    class Overtaken:
        """The client of the slow publisher; the fast one publishes while its model is being uploaded."""

        def __getattr__(self, name: str) -> Any:
            return getattr(aws.s3, name)

        def put_object(self, **request: Any) -> Any:
            if request["Key"].endswith("model.tflite") and not published:
                published.append(publish_bundle(fast, URI, aws.s3).version)
            return aws.s3.put_object(**request)

    client: Any = Overtaken()
    with pytest.raises(UserError, match="another process changed"):
        publish_bundle(slow, URI, client)
    assert pointer(aws)["version"] == published[0]


class AnswerLost:
    """A client whose answers to PUT are lost for keys that end with ``suffix``: the SDK sends each request again."""

    def __init__(self, s3: Any, suffix: str, then: Callable[[], object] = lambda: None) -> None:
        self._s3, self._suffix, self._then = s3, suffix, then

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def put_object(self, **request: Any) -> Any:
        answer = self._s3.put_object(**request)
        if not request["Key"].endswith(self._suffix):
            return answer
        self._then()
        return self._s3.put_object(**request)


@pytest.mark.parametrize("suffix", ["current.json", "model.tflite", "manifest.json", ".json"])
def test_a_publication_whose_answers_are_lost_is_one(aws: Aws, tmp_path: Path, suffix: str) -> None:
    one = publish_bundle(bundle(tmp_path, 1), URI, aws.s3).version
    client: Any = AnswerLost(aws.s3, suffix)
    two = publish_bundle(bundle(tmp_path, 2), URI, client).version
    assert pointer(aws)["version"] == two
    assert releases.rollback(URI, aws.s3) == (two, one)


def test_a_promotion_with_no_answer_at_all_says_so_unless_it_took_place(aws: Aws, tmp_path: Path) -> None:
    one = publish_bundle(bundle(tmp_path, 1), URI, aws.s3).version
    two = publish_bundle(bundle(tmp_path, 2), URI, aws.s3, promote=False).version

    class Silent(AnswerLost):
        def put_object(self, **request: Any) -> Any:
            if reaches or not request["Key"].endswith("current.json"):
                self._s3.put_object(**request)
            if request["Key"].endswith("current.json"):
                raise ReadTimeoutError(endpoint_url="s3")

    client: Any = Silent(aws.s3, "")
    reaches = False
    with pytest.raises(ReadTimeoutError):
        releases.promote(two, URI, client)
    assert pointer(aws)["version"] == one
    reaches = True
    releases.promote(two, URI, client)
    assert pointer(aws)["version"] == two
    assert releases.rollback(URI, aws.s3) == (two, one)


def test_the_way_back_leads_through_a_promotion_that_was_replaced_at_once(aws: Aws, tmp_path: Path) -> None:
    one, two, three = (publish_bundle(bundle(tmp_path, n), URI, aws.s3, promote=n == 1).version for n in (1, 2, 3))
    client: Any = AnswerLost(aws.s3, "current.json", then=lambda: releases.promote(three, URI, aws.s3))
    with pytest.raises(UserError, match=f"another process changed .* to {three}"):
        releases.promote(two, URI, client)
    assert releases.rollback(URI, aws.s3) == (three, two)
    assert releases.rollback(URI, aws.s3) == (two, one)


def test_a_bundle_is_not_published_among_the_images(aws: Aws, tmp_path: Path) -> None:
    queue = {"QueueArn": "arn:aws:sqs:us-east-1:123456789012:images", "Events": ["s3:ObjectCreated:*"]}
    rules = {"Key": {"FilterRules": [{"Name": "prefix", "Value": "incoming/"}]}}
    aws.s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [{**queue, "Filter": rules}]}
    )
    with pytest.raises(UserError, match=f"s3://{BUCKET}/incoming/models/ is an input location"):
        publish_bundle(bundle(tmp_path), f"s3://{BUCKET}/incoming/models/", aws.s3)
    publish_bundle(bundle(tmp_path, 2), URI, aws.s3)


def test_a_refused_upload_is_reported_as_it_is(aws: Aws, tmp_path: Path) -> None:
    class Denied:
        def __getattr__(self, name: str) -> Any:
            return getattr(aws.s3, name)

        def put_object(self, **request: Any) -> Any:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": request["Key"]}}, "PutObject")

    client: Any = Denied()
    with pytest.raises(ClientError, match="AccessDenied"):
        publish_bundle(bundle(tmp_path), URI, client)


def test_without_a_record_rolling_back_asks_for_a_version(aws: Aws, tmp_path: Path) -> None:
    publish_bundle(bundle(tmp_path), URI, aws.s3)
    for key in aws.keys("models/history/"):
        aws.s3.delete_object(Bucket=BUCKET, Key=key)
    with pytest.raises(UserError, match="no record of what was live"):
        releases.rollback(URI, aws.s3)


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("models/", "not a model location"),
        ("s3://no-such-bucket-here/models/", "the bucket no-such-bucket-here does not exist"),
        (f"{URI}20261120T101500Z-5d313724/", "names a version"),
    ],
)
def test_a_wrong_location_is_one_clear_line(aws: Aws, tmp_path: Path, uri: str, told: str) -> None:
    made = bundle(tmp_path)
    calls = (
        lambda: publish_bundle(made, uri, aws.s3),
        lambda: releases.rollback(uri, aws.s3),
        lambda: releases.versions(uri, aws.s3),
        lambda: releases.promote("20261120T101500Z-5d313724", uri, aws.s3),
    )
    for call in calls:
        with pytest.raises(UserError, match=told):
            call()


def test_what_was_never_published_cannot_be_promoted_or_rolled_back(aws: Aws) -> None:
    with pytest.raises(UserError, match="nothing is live"):
        releases.rollback(URI, aws.s3)
    with pytest.raises(UserError, match="there is no version"):
        releases.promote("20261120T101500Z-5d313724", URI, aws.s3)
    with pytest.raises(UserError, match="is not a version"):
        releases.promote("latest", URI, aws.s3)
