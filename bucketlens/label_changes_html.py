"""The images that change their label between two models, as one HTML page with their pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from bucketlens.concurrency import as_done
from bucketlens.escaping import printable
from bucketlens.gallery.thumbnails import Thumbnails, Unavailable
from bucketlens.label_changes import LabelChanges
from classifier.errors import UserError
from model_build.data.tensors import Progress
from model_build.evaluation.comparison import Change
from model_build.files import write_atomic
from model_build.html import elements
from model_build.html.elements import Html, element, join, text

MOST_PICTURES = 500
"""Pictures of 6 KB each: a page of 4 MB at most."""
_MOST_FLOWS = 30
_AT_ONCE = 8
_STYLE = """
.cards { list-style: none; padding: 0; display: grid; gap: .75rem;
  grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); }
.cards li { background: var(--panel); border-radius: .5rem; padding: .6rem; overflow-wrap: anywhere; }
.cards img { display: block; margin: 0 auto .5rem; max-height: 12rem; }
.cards .missing { display: grid; place-items: center; height: 8rem; color: var(--muted); font-size: .875rem; }
.cards p { margin: .2rem 0; }
"""


def write_page(out: Path, found: LabelChanges, thumbnails: Thumbnails, progress: Progress = lambda *_: None) -> None:
    """Write the page to ``out``, replacing it.

    Raises:
        UserError: it cannot be written.
        BotoCoreError, ClientError: S3 does not answer.
    """
    keys = [change.photo for change in found.difference.changes[:MOST_PICTURES]]
    made: dict[str, bytes] = {}
    fetched = as_done(lambda key: thumbnails.get(found.pictures[key]), keys, _AT_ONCE)
    for done, (key, picture) in enumerate(fetched, start=1):
        if not isinstance(picture, Unavailable):
            made[key] = picture
        progress(done, len(keys))
    html = render(found, made, f"{datetime.now(UTC):%Y-%m-%d %H:%M UTC}")
    try:
        write_atomic(out.absolute(), html.encode())
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}") from None


def render(found: LabelChanges, pictures: Mapping[str, bytes], made_at: str) -> str:
    """The page.

    Args:
        pictures: JPEG thumbnails by key, for as many of the first ``MOST_PICTURES`` changes as there are.
        made_at: written as it is.
    """
    title = f"Label changes: {found.difference.a} to {found.difference.b}"
    return elements.page(printable(title), _parts(found, pictures, made_at), style=_STYLE)


def _parts(found: LabelChanges, pictures: Mapping[str, bytes], made_at: str) -> Iterator[str]:
    difference = found.difference
    yield element("h1", "Label changes")
    models = ((name, element("code", printable(model))) for name, model in (("A", difference.a), ("B", difference.b)))
    yield elements.facts((*models, ("Images", element("code", printable(str(found.source)))), ("Compared", made_at)))
    changed, compared = len(difference.changes), difference.photos
    tiles = [
        (f"{compared:,}", "images compared"),
        (f"{changed:,}", f"change their label ({changed / compared:.1%})"),
        (f"{len(difference.unreadable):,}", "rejected, by both models"),
    ]
    yield elements.tiles(tiles)
    if found.sampled:
        yield element("p", f"A sample, spread over all {found.listed:,} images.")
    if found.rejected:
        yield elements.table(("reason of rejection", "images"), found.rejected.most_common())
    if not changed:
        yield element("p", "Every image keeps its label.", "verdict good")
        return
    yield element("h2", "From which label to which")
    rows = [(printable(a), printable(b), f"{count:,}") for (a, b), count in found.flows[:_MOST_FLOWS]]
    yield elements.table(("A", "B", "images"), rows, words=(0, 1))
    if len(found.flows) > _MOST_FLOWS:
        yield element("p", f"and {len(found.flows) - _MOST_FLOWS:,} more pairs of labels", "muted")
    yield element("h2", "The images")
    shown = difference.changes[:MOST_PICTURES]
    order = "Those first on which both models are sure: one of them is wrong, and nobody would be asked."
    limit = f" The first {len(shown):,} of {changed:,}; --format csv lists all." if len(shown) < changed else ""
    yield element("p", order + limit, "muted")
    cards = (_card(change, pictures.get(change.photo), found.for_review[change.photo]) for change in shown)
    yield element("ul", join(cards), "cards")


def _card(change: Change, picture: bytes | None, for_review: tuple[bool, bool]) -> Html:
    name = printable(change.photo)
    shown = elements.picture(picture, "image/jpeg", name) if picture else element("div", "no picture", "missing")
    answers = ((change.a, change.a_confidence), (change.b, change.b_confidence))
    lines = [
        element(
            "p", join([text(f"{model}: "), element("strong", printable(label)), text(f" {confidence:.3f} "), review])
        )
        for model, (label, confidence), marked in zip("AB", answers, for_review, strict=True)
        for review in [elements.badge("review", "note") if marked else text("")]
    ]
    return element("li", join([shown, *lines, element("p", name, "muted small")]))
