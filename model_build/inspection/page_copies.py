"""The part of the page about copies: leaks first, then conflicts, then the rest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from model_build.inspection.duplicates import Group
from model_build.inspection.finding import Evidence
from model_build.inspection.page_thumbnails import strip
from model_build.inspection.sheets import MOST_GROUPS, MOST_IN_GROUP, MOST_PER_CLASS, Sheets
from model_build.report.html import Html, element


def copies_section(evidence: Evidence, sheets: Sheets) -> Iterator[str]:
    yield element("h2", "Copies and leaks")
    found = evidence.duplicates
    if not found.exact and not found.near:
        yield element("p", "None: no photo is an exact or a nearly identical copy of another.")
    everything = (*found.exact, *found.near)
    leaks = [group for group in everything if group.leaks]
    conflicts = [group for group in everything if group.conflicts and not group.leaks]
    plain = [group for group in everything if not group.leaks and not group.conflicts]
    yield from _groups("Between splits", "What tests a model must not have trained it.", leaks, sheets)
    yield from _groups("Between classes", "The same picture under several labels.", conflicts, sheets)
    yield from _groups("Within a class", "Harmless but useless.", plain, sheets)
    if found.blank:
        yield element("h3", f"Blank photos: {len(found.blank):,}")
        yield strip(found.blank[:MOST_PER_CLASS], sheets, named=True)


def _groups(title: str, meaning: str, groups: Sequence[Group], sheets: Sheets) -> Iterator[str]:
    if not groups:
        return
    yield element("h3", f"{title}: {len(groups):,} picture{'' if len(groups) == 1 else 's'}")
    yield element("p", meaning)
    yield '<div class="groups">'
    for group in groups[:MOST_GROUPS]:
        yield f"<div>{_caption(group)}{strip(group.photos[:MOST_IN_GROUP], sheets, named=True)}</div>"
    yield "</div>"
    more = len(groups) - MOST_GROUPS
    if more > 0:
        yield element("p", f"And {more:,} more; --format json lists all.", "muted")


def _caption(group: Group) -> Html:
    at_least = math.floor(group.correlation * 1000) / 1000
    kind = "exact copies" if group.kind == "exact" else f"nearly identical, correlation {at_least:.3f}"
    words = [f"{len(group.photos):,} photos, {kind}"]
    if group.conflicts:
        words.append(f"labels {' / '.join(group.labels)}")
    if len(group.photos) > MOST_IN_GROUP:
        words.append(f"{MOST_IN_GROUP} shown")
    return element("p", "; ".join(words), "muted small")
