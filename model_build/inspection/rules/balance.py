"""Rules about how many photos each class and each split has."""

from __future__ import annotations

from collections.abc import Iterator

from model_build.data.dataset import TEST, TRAIN, VALIDATION
from model_build.inspection.finding import Evidence, Finding
from model_build.inspection.rules.words import FIX, NOTE, STOP, classes_have, listed, photos_of

_FEWEST_TO_SPLIT = 3  # one photo each to train, validate and test
_FEW_TRAINING = 20
_FEW_TEST = 10
_SMALL_TEST = 200  # the 95 % interval of an accuracy of 0.85 is 10 points wide (Wilson 1927)
_UNEVEN, _VERY_UNEVEN = 3.0, 10.0  # the second is the ClassImbalance rule's default in the SageMaker debugger
_SHIFT = 0.1


def classes(evidence: Evidence) -> Iterator[Finding]:
    """Fewer than two classes, or a class that cannot be trained."""
    summary = evidence.summary
    with_photos = [label for label in evidence.labels if sum(summary.counts[label].values())]
    if len(with_photos) < 2:
        yield Finding(
            STOP,
            "classes.one",
            f"Only the class {with_photos[0]!r} has readable photos",
            "A classifier chooses between classes; with one there is nothing to choose.",
            "Add a folder with photos for every other class.",
        )
    fewest = 1 if evidence.is_split else _FEWEST_TO_SPLIT
    starved = [label for label in evidence.labels if summary.training(label) < fewest]
    if starved:
        yield Finding(
            STOP,
            "classes.untrainable",
            f"{classes_have(starved)} no training photos"
            if fewest == 1
            else f"{classes_have(starved)} under {fewest} photos",
            "What is not trained on is never predicted: all its photos count as mistakes.",
            f"Add training photos to, or remove the folders of: {listed(starved)}.",
        )
    few = [label for label in evidence.labels if fewest <= summary.training(label) < _FEW_TRAINING]
    if few:
        yield Finding(
            FIX,
            "classes.few_photos",
            f"{classes_have(few)} fewer than {_FEW_TRAINING} training photos",
            "So few photos are learnt by heart; what the model makes of new ones is luck.",
            f"Add photos to: {listed(f'{label} ({summary.training(label)})' for label in few)}.",
        )


def balance(evidence: Evidence) -> Iterator[Finding]:
    found = evidence.summary.balance
    if found.ratio >= _UNEVEN:
        yield Finding(
            FIX if found.ratio >= _VERY_UNEVEN else NOTE,
            "classes.imbalance",
            f"{found.largest[0]!r} has {found.ratio:.1f} times the photos of {found.smallest[0]!r}"
            f" ({found.largest[1]:,} to {found.smallest[1]:,})",
            f"The model leans towards large classes (evenness {found.evenness:.2f} of 1); overall accuracy hides it.",
            "Add photos to the small classes, train with class weights, and judge by recall of each class.",
        )


def splits(evidence: Evidence) -> Iterator[Finding]:
    summary = evidence.summary
    if not evidence.is_split:
        yield Finding(
            NOTE,
            "splits.none",
            "The photos are not split into train, validation and test",
            "Training cuts the splits itself, by class and by a fixed seed.",
            "Nothing; make folders of your own where photos belong together, such as several of one object.",
        )
        return
    for name in (VALIDATION, TEST):
        if name not in summary.splits:
            yield Finding(
                NOTE,
                f"splits.no_{name}",
                f"There is no {name} folder",
                "Training cuts these photos from the training photos.",
                f"Nothing, or set photos aside in a folder {name!r}.",
            )
    for name in summary.splits:
        thin = [label for label in evidence.labels if summary.counts[label][name] < _FEW_TEST]
        if name == TEST and thin:
            yield Finding(
                NOTE,
                "splits.thin_test",
                f"{classes_have(thin)} fewer than {_FEW_TEST} test photos",
                "One photo more or less right changes the recall of such a class by 10 points.",
                f"Add test photos to: {listed(thin)}.",
            )
        if name == TEST and summary.total(name) < _SMALL_TEST:
            yield Finding(
                NOTE,
                "splits.small_test",
                f"The test split has {photos_of(summary.total(name))}",
                "Its accuracy is known to 5 points either way at best.",
                f"{_SMALL_TEST} or more tell models apart.",
            )
        shift = _shift(evidence, name)
        if shift > _SHIFT:
            yield Finding(
                NOTE,
                "splits.shift",
                f"The {name} split has other class shares than the training photos ({shift:.0%} would have to move)",
                "Overall accuracy then weighs the classes differently from training.",
                "Nothing if that is how photos come in service; else move photos between the splits.",
            )


def _shift(evidence: Evidence, split: str) -> float:
    """Total variation distance between the class shares of a split and of the training photos."""
    summary = evidence.summary
    if TRAIN not in summary.splits or split == TRAIN:
        return 0.0
    here, there = summary.total(split), summary.total(TRAIN)
    return sum(abs(one[split] / here - one[TRAIN] / there) for one in summary.counts.values()) / 2
