"""The gallery at the local stack's address."""

from __future__ import annotations

from bucketlens.gallery.server import MOUNT, Gallery
from bucketlens.gallery.thumbnails import Thumbnails
from bucketlens.local.stack import LocalStack
from bucketlens.results import Query, find
from model_build.files import cache_folder


def mount_gallery(stack: LocalStack) -> str:
    """Serve the running stack's results beside its endpoints; the address to open in a browser."""
    aws, table = stack.aws, stack.table
    thumbnails = Thumbnails(aws.s3, cache_folder() / "thumbnails")
    return stack.mount(MOUNT, Gallery(stack.bucket, lambda: find(aws.dynamodb, table, Query()), thumbnails))
