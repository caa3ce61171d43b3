"""After the worst day: what went to the dead-letter queue, and what never had an event, ends with its outcome."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import Application, running_application
from tests.support.images import png

pytestmark = pytest.mark.slow

IMAGES = 12


def names(application: Application, status: str) -> set[str]:
    return {key.rpartition("/")[2] for key, item in application.items().items() if item["status"]["S"] == status}


def test_a_redrive_after_the_cause_is_fixed_ends_with_an_empty_queue_and_every_image_done(tmp_path: Path) -> None:
    with running_application(tmp_path, retry_after_seconds=0) as application:
        stack = application.stack
        pointer = "models/current.json"
        model = stack.aws.s3.get_object(Bucket=stack.bucket, Key=pointer)["Body"].read()
        stack.aws.s3.put_object(Bucket=stack.bucket, Key=pointer, Body=b"{}")
        for n in range(IMAGES):
            stack.aws.s3.put_object(Bucket=stack.bucket, Key=f"incoming/{n}.png", Body=png(seed=n))
        # The test event of a fresh stack may lie there besides.
        application.until(lambda: application.waiting(stack.dead_letter_queue_url) >= IMAGES, seconds=200)
        listed = application.run("bucketlens", "dlq", "list").stdout
        assert listed.count("no result: storage or model failure") == IMAGES
        assert application.items() == {}

        stack.aws.s3.put_object(Bucket=stack.bucket, Key=pointer, Body=model)
        sent = application.run("bucketlens", "dlq", "redrive", "--all").stdout
        assert sent.count("incoming/") == IMAGES
        application.run("bucketlens", "dlq", "purge", "--yes")
        application.until(lambda: len(names(application, "classified")) == IMAGES)
        application.until(application.queue_is_empty)
        application.run("bucketlens", "reconcile", "--settle", "0")


def test_images_whose_events_were_lost_are_classified_by_a_repair(application: Application) -> None:
    stack = application.stack
    notifications = stack.aws.s3.get_bucket_notification_configuration(Bucket=stack.bucket)
    queue = notifications["QueueConfigurations"]
    stack.aws.s3.put_object(Bucket=stack.bucket, Key="incoming/overwritten.png", Body=png("red"))
    application.until(lambda: names(application, "classified") == {"overwritten.png"})
    stack.aws.s3.put_bucket_notification_configuration(Bucket=stack.bucket, NotificationConfiguration={})
    stack.aws.s3.put_object(Bucket=stack.bucket, Key="incoming/overwritten.png", Body=png("blue"))
    for n in range(IMAGES):
        stack.aws.s3.put_object(Bucket=stack.bucket, Key=f"incoming/a b+ä/{n}.png", Body=png("green", seed=n))
    stack.aws.s3.put_object(Bucket=stack.bucket, Key="incoming/broken.png", Body=png()[:100])
    stack.aws.s3.put_bucket_notification_configuration(
        Bucket=stack.bucket, NotificationConfiguration={"QueueConfigurations": queue}
    )
    application.until(application.queue_is_empty)
    assert application.run("bucketlens", "reconcile", "--settle", "0", check=False).returncode == 1
    repaired = application.run("bucketlens", "reconcile", "--settle", "0", "--repair", "--yes")
    assert f"sent {IMAGES + 2} images" in repaired.stderr
    application.until(lambda: len(application.items()) == IMAGES + 2 and application.queue_is_empty())
    application.run("bucketlens", "reconcile", "--settle", "0")
    items = application.items()
    assert items["incoming/overwritten.png"]["label"] == {"S": "blue"}
    assert items["incoming/broken.png"]["error_code"] == {"S": "image.corrupt"}
    assert len(application.keys("predictions/")) == IMAGES + 2
