"""What is known of one file of a data set."""

from __future__ import annotations

from dataclasses import dataclass

from model_build.data.dataset import Photo

UNSPLIT = "all"
"""The split of a photo in a data set without split folders."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What reading a sound file tells, wherever it lies.

    Attributes:
        sha256: hexadecimal digest of the content.
        format, mode: by Pillow's names, such as ``JPEG`` and ``RGB``.
        width, height: pixels as a viewer shows them, after EXIF orientation.
        hash: :func:`model_build.inspection.hashing.perceptual_hash`.
        signature: :func:`model_build.inspection.hashing.signature`.
    """

    sha256: str
    format: str
    mode: str
    width: int
    height: int
    hash: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """Why the function would not classify a file: the code and message of :mod:`classifier.errors`."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class PhotoFacts:
    """A readable photo."""

    photo: Photo
    size_bytes: int
    measured: Measured

    @property
    def name(self) -> str:
        return self.photo.name

    @property
    def label(self) -> str:
        return self.photo.label

    @property
    def split(self) -> str:
        return self.photo.split or UNSPLIT


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """A file that can be neither trained on nor classified."""

    photo: Photo
    size_bytes: int
    refused: Refused
