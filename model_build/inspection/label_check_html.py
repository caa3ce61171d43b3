"""The photos whose labels are doubtful, as one HTML page on which a person decides about each."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from importlib.resources import files

from model_build.html import elements
from model_build.html.elements import Html, element, join, picture
from model_build.inspection.doctor import DoubtfulLabel, LabelCheck
from model_build.inspection.facts import Thumbnail
from model_build.inspection.label_errors import CHANGED
from model_build.inspection.relabelling import COLUMNS, KEEP, MOVE, REMOVE

_STYLE = """
.cards { list-style: none; padding: 0; display: grid; gap: .75rem;
  grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }
.cards li { background: var(--panel); border-radius: .5rem; padding: .7rem; overflow-wrap: anywhere; }
.cards li:focus-within { outline: 2px solid var(--accent); outline-offset: 2px; }
.cards .frame { display: flex; height: 7.5rem; align-items: center; justify-content: center; }
.cards p { margin: .3rem 0; font-size: .875rem; } .cards fieldset { border: 0; margin: 0; padding: 0; }
.cards legend { padding: 0; font-size: .875rem; } .cards label { display: block; padding: .15rem 0; }
.cards input[type=text] { font: inherit; width: 8rem; max-width: 60%; color: inherit; background: var(--page);
  border: 1px solid var(--line); border-radius: .25rem; }
.cards input:invalid { border-color: var(--stop); }
.bar { position: sticky; bottom: 0; display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center;
  padding: .7rem 0; margin-top: 1rem; background: var(--page); border-top: 1px solid var(--line); }
.bar button { font: inherit; padding: .4rem .9rem; border: 0; border-radius: .4rem; color: var(--page);
  background: var(--accent); cursor: pointer; }
kbd { font: .875em ui-monospace, monospace; border: 1px solid var(--line); border-radius: .25rem; padding: 0 .3rem; }
"""


def render(check: LabelCheck, thumbnails: Mapping[str, Thumbnail], made_at: str) -> str:
    """The page. ``thumbnails``: by sha256, as many as there are; ``made_at`` is written as it is."""
    script = files("model_build.inspection").joinpath("label_check.js").read_text(encoding="utf-8")
    parts = _parts(check, thumbnails, made_at)
    return elements.page(f"Label check: {check.source}", parts, style=_STYLE, script=script if check.listed else "")


def _parts(check: LabelCheck, thumbnails: Mapping[str, Thumbnail], made_at: str) -> Iterator[str]:
    yield element("h1", "Label check")
    yield element("p", join([element("code", check.source), elements.text(f", checked {made_at}")]), "muted")
    tiles = [
        (f"{check.photos:,}", f"photos in {len(check.labels):,} classes"),
        (f"{check.doubtful:,}", "look more like another class"),
    ]
    if check.doubtful > len(check.listed):
        tiles.append((f"{len(check.listed):,}", "of them are listed (--limit)"))
    if check.noticed is not None:
        tiles.append((f"{check.noticed:.0%}", "of labels changed as a trial are noticed"))
    yield elements.tiles(tiles)
    yield element("p", _meaning(check))
    yield element("p", _method(check), "muted")
    if not check.listed:
        return
    keys = (("K", "keep"), ("M", "move to the likely class"), ("O", "another class"), ("R", "remove"))
    told = join(join([element("kbd", key), elements.text(f" {what}, ")]) for key, what in keys)
    arrows = join([element("kbd", "↑"), elements.text(" "), element("kbd", "↓"), elements.text(" previous and next.")])
    yield element("p", join([elements.text("Keys: "), told, arrows]), "small")
    options = "".join(f'<option value="{html.escape(label)}"></option>' for label in check.labels)
    yield f'<datalist id="classes">{options}</datalist>'
    cards = join(_card(number, one, thumbnails) for number, one in enumerate(check.listed))
    yield f'<ol class="cards" data-columns="{",".join(COLUMNS)}">{cards}</ol>'
    yield (
        '<div class="bar"><button type="button" id="download">Download decisions.csv</button>'
        '<span id="decided" role="status"></span></div>'
    )
    yield element(
        "p",
        join(
            [
                elements.text("Then: "),
                element("code", f"bucketlens model doctor {check.source} --apply decisions.csv"),
                elements.text(" moves the files; --undo brings them back. Photos without a decision stay."),
            ]
        ),
    )


def _meaning(check: LabelCheck) -> str:
    if not check.listed:
        return "Every photo looks most like the photos of its own class."
    return (
        "A list to look at, not a verdict. The most doubtful photos come first; further down, more of them are labelled"
        " rightly and only look unlike their class. In a data set with few wrong labels most of the list is right."
        " Photos of a class that is labelled wrongly throughout are not found."
    )


def _method(check: LabelCheck) -> str:
    told = (
        f"Each photo was judged by a linear layer on features of {check.network} that was fitted on all other photos."
        " The two scores are what that layer gives the photo's label and the likely one, about 0 to 1."
    )
    if check.noticed is not None:
        told += (
            f" As a trial {CHANGED:.0%} of the labels were changed at random, 10 times: {check.noticed:.0%} of the"
            " changed ones then looked more like another class. Mistakes of people between similar classes are harder"
            " to find."
        )
    if check.unreadable:
        told += f" {check.unreadable:,} unreadable files were left out."
    return told


def _card(number: int, one: DoubtfulLabel, thumbnails: Mapping[str, Thumbnail]) -> Html:
    facts = one.facts
    thumbnail = thumbnails.get(facts.measured.sha256)
    shown = (
        picture(thumbnail.data, "image/webp", facts.name, size=(thumbnail.width, thumbnail.height))
        if thumbnail
        else element("span", "not shown", "muted small")
    )

    def choice(value: str, what: str, more: str = "") -> str:
        button = f'<input type="radio" name="decision-{number}" value="{value}">'
        return f"<label>{button} {elements.text(what)}{more}</label>"

    other = f' <input type="text" list="classes" aria-label="other class of {html.escape(facts.name)}">'
    choices = (
        choice(KEEP, f"keep {facts.label}"),
        choice(MOVE, f"move to {one.likely}"),
        choice("other", "move to", other),
        choice(REMOVE, "remove"),
    )
    scores = join(
        [
            element("strong", facts.label),
            elements.text(f" {one.label_score:.2f}, likely "),
            element("strong", one.likely),
            elements.text(f" {one.likely_score:.2f}"),
        ]
    )
    data = "".join(
        f' data-{name}="{html.escape(value)}"'
        for name, value in (("photo", facts.name), ("label", facts.label), ("likely", one.likely))
    )
    fields = join([element("legend", scores), *choices])
    return Html(
        f'<li tabindex="0"{data}><div class="frame">{shown}</div>{element("p", element("code", facts.name))}'
        f"<fieldset>{fields}</fieldset></li>"
    )
