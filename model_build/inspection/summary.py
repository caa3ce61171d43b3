"""Figures of a data set: how many of what, how large, how even; and the input size that follows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from model_build.data.dataset import SPLITS, TRAIN
from model_build.inspection.facts import UNSPLIT, PhotoFacts

# Sizes that backbones are used with; those from 96 on have ImageNet weights of MobileNet.
_INPUT_SIZES = (32, 48, 64, 96, 128, 160, 192, 224)
_LARGE_DETAIL = 600
_WIDE = 2.0


@dataclass(frozen=True)
class Spread:
    """Minimum, first quartile, median, third quartile and maximum."""

    lowest: float
    quarter: float
    median: float
    three_quarters: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Raises ValueError for no values."""
        if not values:
            raise ValueError("a spread of nothing")
        return cls(*(float(value) for value in np.percentile(values, (0, 25, 50, 75, 100))))


@dataclass(frozen=True)
class Balance:
    """How evenly the classes are filled, by training photos (all photos where nothing is split).

    Attributes:
        largest, smallest: (label, photos), of the classes that have any.
        ratio: largest to smallest, 1 or more.
        evenness: Shannon entropy of the shares over that of equal shares (Pielou 1966): 1 is even, 0 one class alone.
    """

    largest: tuple[str, int]
    smallest: tuple[str, int]
    ratio: float
    evenness: float


@dataclass(frozen=True)
class InputSize:
    """A side for the model's square input, in pixels, and why."""

    pixels: int
    reason: str


@dataclass(frozen=True)
class Summary:
    """Attributes:
    splits: those that have photos, in the order train, validation, test; ``all`` where nothing is split.
    counts: readable photos by label and split.
    formats, modes: photos by Pillow's names, the most first.
    size_bytes: of all readable files.
    short_side, long_side, aspect, file_bytes: of readable photos; aspect is long to short side, 1 or more.
    wide: photos whose long side is more than twice the short one.
    """

    splits: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    formats: dict[str, int]
    modes: dict[str, int]
    size_bytes: int
    short_side: Spread
    long_side: Spread
    aspect: Spread
    file_bytes: Spread
    wide: int
    balance: Balance
    input_size: InputSize

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.counts)

    @property
    def training_split(self) -> str:
        return UNSPLIT if UNSPLIT in self.splits else TRAIN

    def training(self, label: str) -> int:
        """Training photos of a class."""
        return self.counts[label][self.training_split] if self.training_split in self.splits else 0

    def total(self, split: str) -> int:
        return sum(by_split[split] for by_split in self.counts.values())


def summarise(labels: Sequence[str], photos: Sequence[PhotoFacts]) -> Summary:
    """``labels`` are all class folders, also those without a readable photo; ``photos`` at least one."""
    found = {photo.split for photo in photos}
    splits = tuple(split for split in (*SPLITS, UNSPLIT) if split in found)
    counted = Counter((photo.label, photo.split) for photo in photos)
    counts = {label: {split: counted[label, split] for split in splits} for label in labels}
    short = [min(photo.measured.width, photo.measured.height) for photo in photos]
    long = [max(photo.measured.width, photo.measured.height) for photo in photos]
    aspect = [one / other for one, other in zip(long, short, strict=True)]
    base = UNSPLIT if UNSPLIT in splits else TRAIN
    training = {label: by_split.get(base, 0) for label, by_split in counts.items()}
    if not any(training.values()):  # test folders alone
        training = {label: sum(by_split.values()) for label, by_split in counts.items()}
    return Summary(
        splits=splits,
        counts=counts,
        formats=dict(Counter(photo.measured.format for photo in photos).most_common()),
        modes=dict(Counter(photo.measured.mode for photo in photos).most_common()),
        size_bytes=sum(photo.size_bytes for photo in photos),
        short_side=Spread.of(short),
        long_side=Spread.of(long),
        aspect=Spread.of(aspect),
        file_bytes=Spread.of([photo.size_bytes for photo in photos]),
        wide=sum(one > _WIDE for one in aspect),
        balance=balance_of(training),
        input_size=recommend_input_size(short),
    )


def balance_of(counts: Mapping[str, int]) -> Balance:
    """``counts``: photos by label, at least one not 0; labels without photos are left out."""
    filled = {label: count for label, count in counts.items() if count}
    largest = max(filled.items(), key=lambda one: (one[1], one[0]))
    smallest = min(filled.items(), key=lambda one: (one[1], one[0]))
    total = sum(filled.values())
    entropy = -sum(count / total * math.log(count / total) for count in filled.values())
    evenness = entropy / math.log(len(filled)) if len(filled) > 1 else 0.0
    return Balance(largest, smallest, largest[1] / smallest[1], min(1.0, evenness))


def recommend_input_size(short_sides: Sequence[int]) -> InputSize:
    """The largest usual size that at least three quarters of the photos fill without being enlarged, at most 224.

    Enlarging adds work and no detail; above 224, for which most ImageNet weights were trained, work grows with the
    square of the side while accuracy gains little (Tan and Le, EfficientNet, 2019, fig. 3).
    """
    quarter = float(np.percentile(short_sides, 25))
    pixels = max((size for size in _INPUT_SIZES if size <= quarter), default=_INPUT_SIZES[0])
    reason = (
        f"three quarters of the photos have a short side of at least {quarter:,.0f} pixels; {pixels} is the largest "
        "common input that does not upscale them, which would add work but no detail"
    )
    if quarter < _INPUT_SIZES[0]:
        reason = f"a quarter of the photos have a short side under {_INPUT_SIZES[0]} pixels, the smallest common input"
    elif pixels == _INPUT_SIZES[-1]:
        reason = (
            f"three quarters of the photos have a short side of at least {quarter:,.0f} pixels and fill 224, the size"
            " most ImageNet weights were trained for; work grows with the square of the side"
        )
    if quarter >= _LARGE_DETAIL:
        reason += ". They have more detail: where small details matter, try 299, at 1.8 times the work"
    if pixels < 96:
        reason += ". With ImageNet weights use 96 or more anyway: their filters expect larger shapes"
    return InputSize(pixels, reason)
