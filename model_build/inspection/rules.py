"""All rules: those about classes and splits and about copies, with those of :mod:`.file_rules`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from model_build.data.dataset import TEST, TRAIN, VALIDATION
from model_build.inspection import file_rules
from model_build.inspection.duplicates import Group
from model_build.inspection.evidence import (
    FIX,
    NOTE,
    STOP,
    InspectionEvidence,
    Issue,
    IssueSeverity,
    classes_have,
    counted,
    graded,
    have,
    listed,
)
from model_build.inspection.facts import UNSPLIT

_FEWEST_TO_SPLIT = 3  # one photo each to train, validate and test
_FEW_TRAINING = 20
_FEW_TEST = 10
_SMALL_TEST = 200  # the 95 % interval of an accuracy of 0.85 is 10 points wide (Wilson 1927)
_UNEVEN, _VERY_UNEVEN = 3.0, 10.0  # the second is the ClassImbalance rule's default in the SageMaker debugger
_SHIFT = 0.1
_LEAK_STOP_SHARE = 0.01  # a point of accuracy that is not there
_ENOUGH_TO_JUDGE = 10


def classes(evidence: InspectionEvidence) -> Iterator[Issue]:
    """Fewer than two classes, or a class that cannot be trained."""
    summary = evidence.summary
    with_photos = [label for label in evidence.labels if sum(summary.counts[label].values())]
    if len(with_photos) < 2:
        yield Issue(
            STOP,
            "classes.one",
            f"Only the class {with_photos[0]!r} has readable photos",
            "A classifier needs at least two classes to choose from.",
            "Add a folder with photos for every other class.",
        )
    fewest = 1 if evidence.is_split else _FEWEST_TO_SPLIT
    starved = [label for label in evidence.labels if summary.training(label) < fewest]
    if starved:
        yield Issue(
            STOP,
            "classes.untrainable",
            f"{classes_have(starved)} no training photos"
            if fewest == 1
            else f"{classes_have(starved)} under {fewest} photos",
            "A class without training photos is never predicted: all its photos count as mistakes.",
            f"Add training photos to, or remove the folders of: {listed(starved)}.",
        )
    few = [label for label in evidence.labels if fewest <= summary.training(label) < _FEW_TRAINING]
    if few:
        yield Issue(
            FIX,
            "classes.few_photos",
            f"{classes_have(few)} fewer than {_FEW_TRAINING} training photos",
            "A model memorizes so few photos and does not generalize from them.",
            f"Add photos to: {listed(f'{label} ({summary.training(label)})' for label in few)}.",
        )


def balance(evidence: InspectionEvidence) -> Iterator[Issue]:
    found = evidence.summary.balance
    if found.ratio >= _UNEVEN:
        yield Issue(
            FIX if found.ratio >= _VERY_UNEVEN else NOTE,
            "classes.imbalance",
            f"{found.largest[0]!r} has {found.ratio:.1f} times as many photos as {found.smallest[0]!r}"
            f" ({found.largest[1]:,} to {found.smallest[1]:,})",
            f"The model favours large classes (evenness {found.evenness:.2f} of 1); overall accuracy hides it.",
            "Add photos to the small classes, train with class weights, and judge by recall per class.",
        )


def splits(evidence: InspectionEvidence) -> Iterator[Issue]:
    summary = evidence.summary
    if not evidence.is_split:
        yield Issue(
            NOTE,
            "splits.none",
            "The photos are not split into train, validation and test",
            "Training makes the splits itself, stratified by class, with a fixed seed.",
            "Nothing; make the folders yourself where photos belong together, such as several of one object.",
        )
        return
    for name in (VALIDATION, TEST):
        if name not in summary.splits:
            yield Issue(
                NOTE,
                f"splits.no_{name}",
                f"There is no {name} folder",
                "Training takes these photos from the training photos.",
                f"Nothing, or set photos aside in a folder {name!r}.",
            )
    for name in summary.splits:
        thin = [label for label in evidence.labels if summary.counts[label][name] < _FEW_TEST]
        if name == TEST and thin:
            yield Issue(
                NOTE,
                "splits.thin_test",
                f"{classes_have(thin)} fewer than {_FEW_TEST} test photos",
                "A single photo changes the recall of such a class by more than 10 points.",
                f"Add test photos to: {listed(thin)}.",
            )
        if name == TEST and summary.total(name) < _SMALL_TEST:
            yield Issue(
                NOTE,
                "splits.small_test",
                f"The test split has {counted('photo', summary.total(name))}",
                "Accuracy measured on it has a margin of error of at least 5 points.",
                f"{_SMALL_TEST} or more are enough to compare models.",
            )
        shift = _shift(evidence, name)
        if shift > _SHIFT:
            yield Issue(
                NOTE,
                "splits.shift",
                f"The {name} split has a different class distribution than the training photos ({shift:.0%} would have "
                "to move)",
                "Overall accuracy then weights the classes differently from training.",
                "Nothing if photos in production are distributed like that; else move photos between the splits.",
            )


def _shift(evidence: InspectionEvidence, split: str) -> float:
    """Total variation distance between the class shares of a split and of the training photos."""
    summary = evidence.summary
    if TRAIN not in summary.splits or split == TRAIN:
        return 0.0
    here, there = summary.total(split), summary.total(TRAIN)
    return sum(abs(one[split] / here - one[TRAIN] / there) for one in summary.counts.values()) / 2


def leaks(evidence: InspectionEvidence) -> Iterator[Issue]:
    measured = sum(evidence.summary.total(split) for split in evidence.summary.splits if split != TRAIN)
    told: set[str] = set()
    for kind, what, groups in _by_kind(evidence.leaks):
        # An exact copy may belong to a group of near ones as well.
        leaked = [photo.name for group in groups for photo in group.leaked if photo.name not in told]
        if not leaked:
            continue
        told.update(leaked)
        share = len(leaked) / max(1, measured)
        exact = kind == "exact"
        yield Issue(
            STOP if exact and share > _LEAK_STOP_SHARE else FIX,
            f"leak.{kind}",
            f"{len(leaked):,} of {counted('photo', measured)} that validate or test {have(len(leaked))} {what} copies"
            " in another split",
            "The model has seen them in training: its accuracy would be overestimated"
            f" (by {share:.1%} of the photos at most).",
            "Delete them from validation and test, keep those of the training folder."
            if exact
            else "Look at the pairs below; delete from validation and test what shows the same picture.",
            tuple(leaked),
        )


def conflicts(evidence: InspectionEvidence) -> Iterator[Issue]:
    for kind, what, groups in _by_kind(evidence.conflicts):
        names = tuple(photo.name for group in groups for photo in group.photos)
        pairs = Counter(" / ".join(group.labels) for group in groups).most_common(3)
        yield Issue(
            graded(len(names), len(evidence.photos), least=FIX),
            f"labels.conflict_{kind}",
            f"{counted('picture', len(groups))} {'is' if len(groups) == 1 else 'are'} in several classes as {what}"
            " copies",
            "At most one label can be right, and the model is trained on both: "
            f"{', '.join(pair for pair, _ in pairs)}.",
            "Decide for each which class is right and delete the others."
            if kind == "exact"
            else "Look at them below: delete the wrong ones, or keep both if they do show different things.",
            names,
        )


def duplicates(evidence: InspectionEvidence) -> Iterator[Issue]:
    """Copies that neither leak nor conflict, which other rules tell of."""
    plain = [
        group
        for group in (*evidence.duplicates.exact, *evidence.duplicates.near)
        if not group.leaks and not group.conflicts
    ]
    for kind, what, groups in _by_kind(plain):
        spare = sum(group.spare for group in groups)
        unsplit = UNSPLIT in evidence.summary.splits
        yield Issue(
            graded(spare, len(evidence.photos)),
            f"duplicates.{kind}",
            f"{counted('photo', spare)} {'is' if spare == 1 else 'are'} {what} {'copy' if spare == 1 else 'copies'}"
            " of others of the same class",
            "In a random split copies end up on both sides and inflate the accuracy."
            if unsplit
            else "They count twice in training or in the accuracy and add no information.",
            "Keep one of each group below." if kind == "exact" else "Look at the groups below; keep one of each.",
            tuple(photo.name for group in groups for photo in group.photos),
        )


def _by_kind(groups: Sequence[Group]) -> Iterator[tuple[str, str, list[Group]]]:
    for kind, what in (("exact", "exact"), ("near", "nearly identical")):
        chosen = [group for group in groups if group.kind == kind]
        if chosen:
            yield kind, what, chosen


def shortcuts(evidence: InspectionEvidence) -> Iterator[Issue]:
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
                yield Issue(
                    FIX,
                    "shortcut.format",
                    f"{inside / count:.0%} of {label!r} are {format_name}, and {(everywhere - inside) / others:.0%} of"
                    " all others",
                    "The class seems to come from another source; the model may learn encoder or camera artifacts and "
                    "fail on other photos.",
                    "Mix sources within each class; at least test with photos from another source.",
                )


RULES: tuple[Callable[[InspectionEvidence], Iterable[Issue]], ...] = (
    classes,
    leaks,
    conflicts,
    file_rules.unreadable,
    file_rules.blank,
    file_rules.dark_and_blurred,
    duplicates,
    shortcuts,
    balance,
    splits,
    file_rules.shapes,
    file_rules.suffixes,
)


def find(evidence: InspectionEvidence) -> tuple[Issue, ...]:
    """Apply every rule; findings of one severity come in the order of :data:`RULES`."""
    found = [finding for rule in RULES for finding in rule(evidence)]
    order = list(IssueSeverity)
    return tuple(sorted(found, key=lambda finding: order.index(finding.severity)))
