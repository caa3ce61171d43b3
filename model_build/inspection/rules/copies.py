"""Rules about photos that are copies of each other: across splits, across classes, and plain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from model_build.data.dataset import TRAIN
from model_build.inspection.duplicates import Group
from model_build.inspection.facts import UNSPLIT
from model_build.inspection.finding import Evidence, Finding
from model_build.inspection.rules.words import FIX, STOP, graded, have, photos_of, pictures_of

_LEAK_STOP_SHARE = 0.01  # a point of accuracy that is not there


def leaks(evidence: Evidence) -> Iterator[Finding]:
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
        yield Finding(
            STOP if exact and share > _LEAK_STOP_SHARE else FIX,
            f"leak.{kind}",
            f"{len(leaked):,} of {photos_of(measured)} that validate or test {have(len(leaked))} {what} copies in"
            " another split",
            "The model has seen them before it is measured on them: its accuracy would look better than it is"
            f" (by {share:.1%} of the photos at most).",
            "Delete them from validation and test, keep those of the training folder."
            if exact
            else "Look at the pairs below; delete from validation and test what shows the same picture.",
            tuple(leaked),
        )


def conflicts(evidence: Evidence) -> Iterator[Finding]:
    for kind, what, groups in _by_kind(evidence.conflicts):
        names = tuple(photo.name for group in groups for photo in group.photos)
        pairs = Counter(" / ".join(group.labels) for group in groups).most_common(3)
        yield Finding(
            graded(len(names), len(evidence.photos), least=FIX),
            f"labels.conflict_{kind}",
            f"{pictures_of(len(groups))} {'lies' if len(groups) == 1 else 'lie'} in several classes as {what} copies",
            f"At most one label can be right, and the model is taught both: {', '.join(pair for pair, _ in pairs)}.",
            "Decide for each which class is right and delete the others."
            if kind == "exact"
            else "Look at them below: delete the wrong ones, or keep both if they do show different things.",
            names,
        )


def duplicates(evidence: Evidence) -> Iterator[Finding]:
    """Copies that neither leak nor conflict, which other rules tell of."""
    plain = [
        group
        for group in (*evidence.duplicates.exact, *evidence.duplicates.near)
        if not group.leaks and not group.conflicts
    ]
    for kind, what, groups in _by_kind(plain):
        spare = sum(group.spare for group in groups)
        unsplit = UNSPLIT in evidence.summary.splits
        yield Finding(
            graded(spare, len(evidence.photos)),
            f"duplicates.{kind}",
            f"{photos_of(spare)} {'is' if spare == 1 else 'are'} {what} {'copy' if spare == 1 else 'copies'} of others"
            " of the same class",
            "When the data is split by chance, copies end on both sides and flatter the figures."
            if unsplit
            else "They count twice in training or in the figures and teach nothing new.",
            "Keep one of each group below." if kind == "exact" else "Look at the groups below; keep one of each.",
            tuple(photo.name for group in groups for photo in group.photos),
        )


def _by_kind(groups: Sequence[Group]) -> Iterator[tuple[str, str, list[Group]]]:
    for kind, what in (("exact", "exact"), ("near", "nearly identical")):
        chosen = [group for group in groups if group.kind == kind]
        if chosen:
            yield kind, what, chosen
