"""Rules about single files: whether they can be read, and whether they show enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from statistics import median

from model_build.inspection.evidence import FIX, NOTE, InspectionEvidence, Issue, counted, graded, have

_TINY = 32
_DARK = 0.32  # cleanvision's threshold
# Of the median. Clothing, whose sharpest photo has 50 times the sharpness of the least sharp, has none below a fifth of
# the median; blurred by a Gaussian of 1.6 % of their side, over 3 of 4 are below a twentieth.
_BLURRED = 0.05
_FLAWED_SHARE = 0.01
_WIDE_SHARE = 0.1
_SUFFIXES = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"},
    "PNG": {".png"},
    "GIF": {".gif"},
    "BMP": {".bmp", ".dib"},
    "WEBP": {".webp"},
    "TIFF": {".tif", ".tiff"},
    "AVIF": {".avif"},
}
_PICTURE_SUFFIXES = frozenset().union(*_SUFFIXES.values())


def unreadable(evidence: InspectionEvidence) -> Iterator[Issue]:
    broken = [one for one in evidence.unreadable if not _is_foreign(one.photo.name)]
    foreign = [one for one in evidence.unreadable if _is_foreign(one.photo.name)]
    if broken:
        reasons = Counter(one.refused.code for one in broken).most_common()
        yield Issue(
            graded(len(broken), evidence.files),
            "files.unreadable",
            f"{counted('file', len(broken))} cannot be read ({', '.join(f'{n} {code}' for code, n in reasons)})",
            "Training skips them; the function would reject them.",
            "Replace them from the source, or delete them.",
            tuple(one.photo.name for one in broken),
        )
    if foreign:
        yield Issue(
            NOTE,
            "files.foreign",
            f"{counted('file', len(foreign))} in the class folders do not have the name of an image",
            "They are skipped.",
            "Nothing, or move them elsewhere.",
            tuple(one.photo.name for one in foreign),
        )


def blank(evidence: InspectionEvidence) -> Iterator[Issue]:
    found = evidence.duplicates.blank
    if found:
        yield Issue(
            graded(len(found), len(evidence.photos)),
            "photos.blank",
            f"{counted('photo', len(found))} {'is' if len(found) == 1 else 'are'} of a single colour",
            "There is nothing to learn from them; often they are failed downloads or placeholders.",
            "Look at them, then delete them.",
            tuple(photo.name for photo in found),
        )


def dark_and_blurred(evidence: InspectionEvidence) -> Iterator[Issue]:
    """Two flaws with two remedies. What a very dark photo has left of contrast may be noise, which hides its blur."""
    blank_ones = {photo.name for photo in evidence.duplicates.blank}
    photos = [photo for photo in evidence.photos if photo.name not in blank_ones]
    sharp = median([photo.measured.sharpness for photo in photos]) if photos else 0.0
    dark = [photo.name for photo in photos if photo.measured.brightness < _DARK]
    blurred = [photo.name for photo in photos if photo.measured.sharpness < sharp * _BLURRED]
    for code, names, what, action in (
        ("dark", dark, "so dark that little can be seen", "Take them again with light, or brighten them."),
        (
            "blurred",
            blurred,
            f"blurred, with under {_BLURRED:.0%} of the usual sharpness",
            "Replace them by sharp ones; brightening does not help.",
        ),
    ):
        if names:
            yield Issue(
                FIX if len(names) / len(evidence.photos) > _FLAWED_SHARE else NOTE,
                f"photos.{code}",
                f"{counted('photo', len(names))} {'is' if len(names) == 1 else 'are'} {what}",
                "What cannot be seen cannot be learnt, and such test photos count as mistakes.",
                f"Look at them. {action} Nothing if photos in service are like that.",
                tuple(names),
            )


def shapes(evidence: InspectionEvidence) -> Iterator[Issue]:
    summary, total = evidence.summary, len(evidence.photos)
    if summary.wide / total > _WIDE_SHARE:
        yield Issue(
            NOTE,
            "sizes.wide",
            f"{summary.wide / total:.0%} of the photos have an aspect ratio over 2:1",
            "Stretching to a square, the default, distorts them.",
            "Train once with --resize pad as well, and compare the validation accuracy.",
        )
    tiny = [photo.name for photo in evidence.photos if min(photo.measured.width, photo.measured.height) < _TINY]
    if tiny:
        yield Issue(
            graded(len(tiny), total) if len(tiny) < total else NOTE,
            "sizes.tiny",
            f"{counted('photo', len(tiny))} {have(len(tiny))} a side under {_TINY} pixels",
            "Thumbnails and icons added by mistake show too little to learn from.",
            "Replace them with the originals, unless photos in production are as small.",
            tuple(tiny),
        )


def suffixes(evidence: InspectionEvidence) -> Iterator[Issue]:
    wrong = [
        photo.name
        for photo in evidence.photos
        if PurePosixPath(photo.name).suffix.lower() not in _SUFFIXES.get(photo.measured.format, set())
    ]
    if wrong:
        yield Issue(
            NOTE,
            "files.suffix",
            f"{counted('file', len(wrong))} {have(len(wrong))} an extension that does not match the content",
            "Harmless here: training and the function go by the content. Other programs may fail on them.",
            "Nothing, or rename them.",
            tuple(wrong),
        )


def _is_foreign(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() not in _PICTURE_SUFFIXES
