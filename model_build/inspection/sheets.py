"""Which photos a report shows, within a limit of bytes, and their rows of thumbnails."""

from __future__ import annotations

import hashlib
import html as markup
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from model_build.data.tensors import Progress
from model_build.html.elements import Html, element, join, picture
from model_build.inspection.facts import FactsCache, PhotoFacts, Thumbnail
from model_build.inspection.inspection import Inspection
from model_build.inspection.reading import quiet_decoders, thumbnails

MOST_PER_CLASS = 24
MOST_GROUPS = 24
MOST_IN_GROUP = 6
_MOST_SHOWN = 1600
_MOST_BYTES = 6_500_000  # 8.7 MB in base64
STYLE = """
.groups { display: flex; flex-wrap: wrap; gap: .25rem 2rem; } .groups > div { max-width: 100%; }
.strip { display: flex; flex-wrap: wrap; gap: .4rem; list-style: none; padding: 0; margin: .6rem 0 1rem; }
.strip li { display: flex; flex-direction: column; background: var(--panel); border-radius: .3rem; overflow: hidden; }
.strip .frame { display: flex; width: 112px; height: 112px; align-items: center; justify-content: center; }
.strip .named { width: 112px; padding: .1rem .35rem .3rem; font-size: .75rem; line-height: 1.3; overflow-wrap: anywhere;
  color: var(--muted); } .strip .named strong { display: block; color: var(--ink); }
"""


@dataclass(frozen=True)
class Sheets:
    """Attributes:
    classes: the photos shown of each class, at most MOST_PER_CLASS, chosen by chance but always the same.
    pictures: thumbnails by the sha256 of the photo; of groups of copies as well. One may be missing where the limit
        of bytes was reached or a file has vanished.
    """

    classes: dict[str, tuple[PhotoFacts, ...]]
    pictures: dict[str, Thumbnail]


def make_sheets(inspection: Inspection, cache: FactsCache, progress: Progress = lambda *_: None) -> Sheets:
    """Choose and draw what the report shows. Decodes at most some 1,700 photos, however many there are."""
    evidence = inspection.evidence
    by_label: dict[str, list[PhotoFacts]] = defaultdict(list)
    for photo in evidence.photos:
        by_label[photo.label].append(photo)
    each = max(1, min(MOST_PER_CLASS, _MOST_SHOWN // len(by_label)))
    chosen = {label: _sample(photos, each) for label, photos in sorted(by_label.items())}
    wanted = {photo.measured.sha256: photo for photo in _of_groups(inspection)}
    # The first of every class, then the second of every class: where the limit cuts, it cuts all alike.
    for rank in range(each):
        for photos in chosen.values():
            if rank < len(photos) and len(wanted) < _MOST_SHOWN:
                wanted.setdefault(photos[rank].measured.sha256, photos[rank])
    pictures: dict[str, Thumbnail] = {}
    size = 0
    with quiet_decoders():
        for sha256, thumbnail in thumbnails(list(wanted.values()), cache, progress):
            size += len(thumbnail.data)
            if size > _MOST_BYTES:
                break
            pictures[sha256] = thumbnail
    shown = {
        label: tuple(photo for photo in photos if photo.measured.sha256 in pictures) for label, photos in chosen.items()
    }
    return Sheets(shown, pictures)


def _sample(photos: Sequence[PhotoFacts], count: int) -> tuple[PhotoFacts, ...]:
    """``count`` of ``photos`` by chance, the same ones whenever the names are the same."""
    return tuple(sorted(photos, key=lambda photo: hashlib.sha256(photo.name.encode()).digest())[:count])


def _of_groups(inspection: Inspection) -> Iterable[PhotoFacts]:
    evidence = inspection.evidence
    for groups in (evidence.duplicates.exact, evidence.duplicates.near):
        for group in groups[:MOST_GROUPS]:
            yield from group.photos[:MOST_IN_GROUP]
    yield from evidence.duplicates.blank[:MOST_PER_CLASS]


def strip(photos: Sequence[PhotoFacts], sheets: Sheets, *, named: bool = False) -> Html:
    """A list of thumbnails; ``named`` writes split, class and file under each."""
    items = []
    for photo in photos:
        seen = photo.measured
        title = f"{photo.name}, {seen.width} x {seen.height}, {seen.format}"
        thumbnail = sheets.pictures.get(seen.sha256)
        shown = (
            picture(thumbnail.data, "image/webp", photo.name, size=(thumbnail.width, thumbnail.height), title=title)
            if thumbnail
            else Html(f'<span class="muted small" title="{markup.escape(title)}">not shown</span>')
        )
        parts = [Html(f'<div class="frame">{shown}</div>')]
        if named:
            where = photo.label if photo.photo.split is None else f"{photo.split}: {photo.label}"
            file = photo.name.rsplit("/", 1)[-1]
            size = f"{seen.width} x {seen.height}"
            parts.append(element("div", join([element("strong", where), element("span", f"{file}, {size}")]), "named"))
        items.append(element("li", join(parts)))
    return Html(f'<ul class="strip">{join(items)}</ul>')
