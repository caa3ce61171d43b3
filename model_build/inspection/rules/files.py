"""Rules about single files: unreadable, blank, badly shaped, misnamed, or betraying their class by their format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath

from model_build.inspection.finding import Evidence, Finding
from model_build.inspection.rules.words import FIX, NOTE, files_of, graded, have, photos_of

_TINY = 32
_WIDE_SHARE = 0.1
_ENOUGH_TO_JUDGE = 10
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


def unreadable(evidence: Evidence) -> Iterator[Finding]:
    broken = [one for one in evidence.unreadable if not _is_foreign(one.photo.name)]
    foreign = [one for one in evidence.unreadable if _is_foreign(one.photo.name)]
    if broken:
        reasons = Counter(one.refused.code for one in broken).most_common()
        yield Finding(
            graded(len(broken), evidence.files),
            "files.unreadable",
            f"{files_of(len(broken))} cannot be read ({', '.join(f'{n} {code}' for code, n in reasons)})",
            "Training leaves them out; in service the function would reject them.",
            "Replace them from the source, or delete them.",
            tuple(one.photo.name for one in broken),
        )
    if foreign:
        yield Finding(
            NOTE,
            "files.foreign",
            f"{files_of(len(foreign))} in the class folders are no pictures by their names",
            "They are left out.",
            "Nothing, or move them elsewhere.",
            tuple(one.photo.name for one in foreign),
        )


def blank(evidence: Evidence) -> Iterator[Finding]:
    found = evidence.duplicates.blank
    if found:
        yield Finding(
            graded(len(found), len(evidence.photos)),
            "photos.blank",
            f"{photos_of(len(found))} {'is' if len(found) == 1 else 'are'} of one colour all over",
            "They show nothing that could be learnt; often a failed download or a placeholder.",
            "Look at them, then delete them.",
            tuple(photo.name for photo in found),
        )


def shapes(evidence: Evidence) -> Iterator[Finding]:
    summary, total = evidence.summary, len(evidence.photos)
    if summary.wide / total > _WIDE_SHARE:
        yield Finding(
            NOTE,
            "sizes.wide",
            f"{summary.wide / total:.0%} of the photos are more than twice as long as wide, or the other way round",
            "Stretched to a square, which is the default, what they show is squeezed.",
            "Train once with --resize pad as well, and compare the validation accuracy.",
        )
    tiny = [photo.name for photo in evidence.photos if min(photo.measured.width, photo.measured.height) < _TINY]
    if tiny:
        yield Finding(
            graded(len(tiny), total) if len(tiny) < total else NOTE,
            "sizes.tiny",
            f"{photos_of(len(tiny))} {have(len(tiny))} a side under {_TINY} pixels",
            "Thumbnails and icons by mistake show too little to learn from.",
            "Replace them by the originals, unless the photos in service are as small.",
            tuple(tiny),
        )


def shortcuts(evidence: Evidence) -> Iterator[Finding]:
    """A file format that gives a class away (Geirhos et al., "Shortcut Learning in Deep Neural Networks", 2020)."""
    if len(evidence.summary.formats) < 2:
        return
    by_class = Counter((photo.label, photo.measured.format) for photo in evidence.photos)
    of_class = Counter(photo.label for photo in evidence.photos)
    for format_name, everywhere in evidence.summary.formats.items():
        for label, count in of_class.items():
            inside, others = by_class[label, format_name], len(evidence.photos) - count
            if (
                others
                and inside >= _ENOUGH_TO_JUDGE
                and inside / count >= 0.9
                and (everywhere - inside) / others <= 0.1
            ):
                yield Finding(
                    FIX,
                    "shortcut.format",
                    f"{inside / count:.0%} of {label!r} are {format_name}, and {(everywhere - inside) / others:.0%} of"
                    " all others",
                    "The class came from another source; the model may learn the traces of its encoder or camera"
                    " and fail on photos from elsewhere.",
                    "Mix sources within each class; at the least test with photos of another source.",
                )


def suffixes(evidence: Evidence) -> Iterator[Finding]:
    wrong = [
        photo.name
        for photo in evidence.photos
        if PurePosixPath(photo.name).suffix.lower() not in _SUFFIXES.get(photo.measured.format, set())
    ]
    if wrong:
        yield Finding(
            NOTE,
            "files.suffix",
            f"{files_of(len(wrong))} {have(len(wrong))} a suffix that does not fit the content",
            "No harm here: contents decide, in training as in the function. Other programs may stumble.",
            "Nothing, or rename them.",
            tuple(wrong),
        )


def _is_foreign(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() not in _PICTURE_SUFFIXES
