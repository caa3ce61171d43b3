"""The gallery at the local stack's address."""

from __future__ import annotations

from functools import partial

from bucketlens.drift import drift_note
from bucketlens.gallery.server import MOUNT, Gallery
from bucketlens.gallery.thumbnails import Thumbnails
from bucketlens.local.stack import LocalStack
from bucketlens.reviews import ReviewSession, ReviewTable, default_reviewer
from model_build.files import cache_folder


def mount_gallery(stack: LocalStack) -> str:
    """Serve the running stack's results beside its endpoints; the address to open in a browser."""
    aws = stack.aws
    thumbnails = Thumbnails(aws.s3, cache_folder() / "thumbnails")
    session = ReviewSession(
        aws.dynamodb, stack.table, ReviewTable(aws.dynamodb, stack.review_table), default_reviewer()
    )
    drift = partial(drift_note, s3=aws.s3, model_uri=stack.deployment.outputs["ModelUri"])
    return stack.mount(MOUNT, Gallery(stack.bucket, session.read, thumbnails, session=session, drift=drift))
