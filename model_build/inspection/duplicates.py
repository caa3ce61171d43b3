"""Which photos are the same: byte for byte, or to the eye; and what that means across splits and classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from model_build.data.dataset import TRAIN
from model_build.data.similarity import find_alike, is_blank
from model_build.inspection.facts import PhotoFacts


@dataclass(frozen=True)
class Group:
    """Photos that are copies of each other, at least two, by name.

    Attributes:
        kind: ``exact``: the same bytes; ``near``: resized, re-encoded or otherwise barely changed.
        correlation: the lowest that made two of them near duplicates; 1 for exact ones.
    """

    kind: Literal["exact", "near"]
    photos: tuple[PhotoFacts, ...]
    correlation: float = 1.0

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(sorted({photo.label for photo in self.photos}))

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(sorted({photo.split for photo in self.photos}))

    @property
    def conflicts(self) -> bool:
        """The same picture under different labels: at most one of them is right."""
        return len(self.labels) > 1

    @property
    def leaks(self) -> bool:
        """The same picture in different splits: what is measured there was seen before."""
        return len(self.splits) > 1

    @property
    def leaked(self) -> tuple[PhotoFacts, ...]:
        """The photos to be taken out so that the group no longer leaks: those outside the split that is kept, which is
        ``train`` if it is among them, as training photos measure nothing."""
        if not self.leaks:
            return ()
        kept = TRAIN if TRAIN in self.splits else self.splits[0]
        return tuple(photo for photo in self.photos if photo.split != kept)

    @property
    def spare(self) -> int:
        """How many could go without losing a picture."""
        return len(self.photos) - 1


@dataclass(frozen=True)
class Duplicates:
    """Groups with the most photos first. Photos of a ``near`` group may be exact copies as well, but not all are."""

    exact: tuple[Group, ...]
    near: tuple[Group, ...]
    blank: tuple[PhotoFacts, ...]
    """One colour all over: they show nothing and are compared with nothing."""


def find_duplicates(photos: Sequence[PhotoFacts]) -> Duplicates:
    """Compare all photos with each other, exactly but without n times n comparisons."""
    by_content: dict[str, list[PhotoFacts]] = defaultdict(list)
    for photo in photos:
        by_content[photo.measured.sha256].append(photo)
    exact = [_group("exact", same) for same in by_content.values() if len(same) > 1]
    blank = [photo for photo in photos if is_blank(photo.measured.signature)]
    nothing = {photo.measured.sha256 for photo in blank}
    contents = [same for sha256, same in by_content.items() if sha256 not in nothing]
    near = [
        _group("near", [photo for member in members for photo in contents[member]], correlation)
        for members, correlation in find_alike(
            [(same[0].measured.hash, same[0].measured.signature) for same in contents]
        )
    ]
    return Duplicates(_ordered(exact), _ordered(near), tuple(blank))


def _group(kind: Literal["exact", "near"], photos: Iterable[PhotoFacts], correlation: float = 1.0) -> Group:
    return Group(kind, tuple(sorted(photos, key=lambda photo: photo.name)), correlation)


def _ordered(groups: Iterable[Group]) -> tuple[Group, ...]:
    return tuple(sorted(groups, key=lambda group: (-len(group.photos), group.photos[0].name)))
