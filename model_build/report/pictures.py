"""Small pictures of photos for a report, decoded as the function decodes them."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

from classifier.errors import ImageRejected
from classifier.imaging import ResizePolicy, decode
from model_build.data.dataset import Photo
from model_build.quality.answers import Mistake
from model_build.report.html import Html, picture, text

STYLE = """
.mistakes { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: 1rem; padding: 0; }
.mistakes figure { margin: 0; background: var(--panel); border-radius: .5rem; padding: .6rem; }
.mistakes img { display: block; margin: 0 auto .4rem; border-radius: .25rem; }
.mistakes figcaption { color: var(--ink); font-size: .8125rem; line-height: 1.4; overflow-wrap: anywhere; }
"""
_SIDE = 144
_QUALITY = 82


def mistake_pictures(mistakes: Sequence[Mistake], photos: Sequence[Photo]) -> Html:
    """The photos of ``mistakes`` with what they are and what the model said; ``photos`` are in the order of rows."""
    return Html('<div class="mistakes">' + "".join(_figure(one, photos[one.row]) for one in mistakes) + "</div>")


def _figure(mistake: Mistake, photo: Photo) -> str:
    return (
        f"<figure>{_thumbnail(photo)}<figcaption>said <strong>{text(mistake.predicted)}</strong>"
        f" {mistake.confidence:.0%}<br>is <strong>{text(mistake.truth)}</strong> {mistake.truth_confidence:.0%}"
        f'<br><span class="muted">{text(photo.name)}</span></figcaption></figure>'
    )


def _thumbnail(photo: Photo) -> Html:
    try:
        image = decode(photo.path.read_bytes(), height=_SIDE, width=_SIDE, policy=ResizePolicy.PAD).tensor
    except (OSError, ImageRejected):  # it has gone since it was measured; its caption still tells of it
        return Html("")
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=_QUALITY)
    return picture(stream.getvalue(), "image/jpeg", photo.name, size=(_SIDE, _SIDE))
