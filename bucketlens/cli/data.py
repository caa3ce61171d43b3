"""Where the photos of a command are: a folder, or a place in S3 that becomes one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bucketlens.cli.display import Screen

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def local_data(data: str, client: Callable[[], S3Client], screen: Screen, cache: Path | None = None) -> Path:
    """``data`` as a folder: itself, or for ``s3://bucket/prefix/`` its copy in ``cache`` (default: the user's caches).

    Raises:
        UserError: see :func:`model_build.data.remote.fetch`; that a local folder exists is not checked here.
    """
    from model_build.data.remote import DataUri, fetch, is_remote
    from model_build.files import cache_folder

    if not is_remote(data):
        return Path(data)
    uri = DataUri.parse(data)
    screen.step("downloading photos")
    fetched = fetch(uri, client(), (cache or cache_folder()) / "data", screen.progress)
    screen.say(f"{fetched.downloaded} files downloaded, {fetched.present} already in {fetched.folder}")
    return fetched.folder
