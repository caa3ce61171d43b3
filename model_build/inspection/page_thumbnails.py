"""Rows of thumbnails."""

from __future__ import annotations

import html as markup
from collections.abc import Sequence

from model_build.inspection.facts import PhotoFacts
from model_build.inspection.sheets import Sheets
from model_build.report.html import Html, element, join, picture

STYLE = """
.groups { display: flex; flex-wrap: wrap; gap: .25rem 2rem; } .groups > div { max-width: 100%; }
.strip { display: flex; flex-wrap: wrap; gap: .4rem; list-style: none; padding: 0; margin: .6rem 0 1rem; }
.strip li { display: flex; flex-direction: column; background: var(--panel); border-radius: .3rem; overflow: hidden; }
.strip .frame { display: flex; width: 112px; height: 112px; align-items: center; justify-content: center; }
.strip .named { width: 112px; padding: .1rem .35rem .3rem; font-size: .75rem; line-height: 1.3; overflow-wrap: anywhere;
  color: var(--muted); } .strip .named strong { display: block; color: var(--ink); }
"""


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
