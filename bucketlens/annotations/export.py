"""Examples on disk: the documents of a format, and the original files that it wants beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from bucketlens.annotations import coco, fiftyone, ground_truth, label_studio
from bucketlens.annotations.examples import Example
from bucketlens.concurrency import as_done
from classifier.errors import UserError
from model_build.files import require_free, write_atomic

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECTIONS = 8
Progress = Callable[[int, int], None]
Documents = Callable[[Sequence[Example], Path], Mapping[str, bytes]]


class ExportFormat(StrEnum):
    """How labelled images are written."""

    FOLDERS = "folders"
    LABEL_STUDIO = "label-studio"
    COCO = "coco"
    FIFTYONE = "fiftyone"
    GROUND_TRUTH = "ground-truth"


@dataclass(frozen=True)
class Layout:
    """What a format is on disk.

    Attributes:
        path: where an image goes, relative to the folder; None for a format whose images stay in S3.
        documents: the format's own files by name, of the examples whose images are there; the folder holds these.
    """

    path: Callable[[Example], str] | None
    documents: Documents = lambda _examples, _folder: {}


def folder_of_class(example: Example) -> str:
    """``label/name``: what ``model train`` takes."""
    return f"{example.label}/{example.name}"


LAYOUTS = {
    ExportFormat.FOLDERS: Layout(folder_of_class),
    ExportFormat.LABEL_STUDIO: Layout(None, label_studio.documents),
    ExportFormat.COCO: Layout(coco.path, coco.documents),
    ExportFormat.FIFTYONE: Layout(coco.path, fiftyone.documents),
    ExportFormat.GROUND_TRUTH: Layout(None, ground_truth.documents),
}


def write(
    out: Path, examples: Sequence[Example], format_: ExportFormat, s3: S3Client, progress: Progress = lambda *_: None
) -> Counter[str]:
    """Write ``examples`` to the new folder ``out``. Interrupted, the same call goes on where it was.

    Args:
        progress: called with images done and all images.

    Returns:
        How many images are left out for each reason: deleted, or replaced since somebody looked at them.

    Raises:
        UserError: ``out`` is taken or cannot be written, or a label cannot be a folder's name.
        BotoCoreError, ClientError: S3 does not answer.
    """
    layout = LAYOUTS[format_]
    if format_ is ExportFormat.FOLDERS:
        _require_folder_names({example.label or "" for example in examples})
    require_free(out)
    partial = out.absolute().with_name(f".{out.name}.partial")
    missing: Counter[str] = Counter()
    try:
        partial.mkdir(parents=True, exist_ok=True)
        here = list(examples)
        if layout.path is not None:
            wanted = {layout.path(example): example for example in examples}
            _remove_others(partial, wanted)
            here = []
            fetched = as_done(lambda path: _fetch(partial / path, wanted[path], s3), wanted, CONNECTIONS)
            for done, (path, reason) in enumerate(fetched, start=1):
                progress(done, len(wanted))
                if reason is None:
                    here.append(wanted[path])
                else:
                    missing[reason] += 1
            here.sort(key=lambda example: example.image_uri)
        for name, content in layout.documents(here, partial).items():
            write_atomic(partial / name, content)
        require_free(out)
        if out.is_dir():
            out.rmdir()
        partial.rename(out.absolute())
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}") from None
    return missing


def _require_folder_names(labels: set[str]) -> None:
    bad = [one for one in sorted(labels) if one.startswith(".") or set("/\\\0") & set(one) or len(one.encode()) > 255]
    if bad:
        raise UserError(f"labels that cannot be a folder's name: {', '.join(map(repr, bad))}; export another format")


def _remove_others(folder: Path, wanted: Container[str]) -> None:
    """What an interrupted export has fetched and this one does not want: decided otherwise, or withdrawn meanwhile."""
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in wanted:
            path.unlink()
    for path in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        if not any(path.iterdir()):
            path.rmdir()


def _fetch(path: Path, example: Example, s3: S3Client) -> str | None:
    if path.is_file():  # written whole by an export that was interrupted; its name tells the content
        return None
    picture = example.picture
    try:
        data = s3.get_object(Bucket=picture.bucket, Key=picture.key, IfMatch=picture.etag)["Body"].read()
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 412:
            return "the image has been replaced since it was looked at"
        if status == 404:
            return "the image has been deleted"
        raise
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, data)
    return None
