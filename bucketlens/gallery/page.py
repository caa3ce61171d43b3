"""The page's HTML, from a template that escapes whatever it is given."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_ASSETS = Path(__file__).parent / "assets"
ASSETS = {"gallery.js": "text/javascript; charset=utf-8", "gallery.css": "text/css; charset=utf-8"}
# 'unsafe-inline' is nowhere: a key that slipped through unescaped could run nothing, and no other host can be reached.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True)
class Page:
    """What a page shows.

    Attributes:
        title: what the results are of, such as the bucket.
        live: whether a server is behind it, from which the script reads the results.
        chunks: the results' documents (:class:`bucketlens.gallery.data.Chunk`) where none is.
        thumbnails: base64 JPEG by id where pictures are part of the page.
        made_at: when the results were read, as text.
        limit: how many results are shown, where others were left out.
        queue: positions of results, what to look at first at the beginning.
        reviewer: who decides about predictions; None where that cannot be done.
        drift: a sentence on the drift of the results, where there is something to compare them with.
    """

    title: str
    live: bool = False
    chunks: tuple[Mapping[str, Any], ...] = ()
    thumbnails: Mapping[str, str] | None = None
    made_at: str | None = None
    limit: int | None = None
    queue: Sequence[int] = ()
    reviewer: str | None = None
    drift: str | None = None


def asset(name: str) -> bytes:
    """The content of one of ``ASSETS``."""
    return (_ASSETS / name).read_bytes()


def render(page: Page, *, self_contained: bool = False) -> str:
    """The page, with links to ``ASSETS`` beside it, or with everything in it."""
    script = style = None
    policy = POLICY
    if self_contained:
        # Our own files and no data, hence not escaped; they hold no "</script" and no "</style".
        script, style = (Markup(asset(name).decode()) for name in ASSETS)  # noqa: S704
        policy = (
            f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; img-src data:;"
            " base-uri 'none'; form-action 'none'"
        )
    return _environment().get_template("gallery.html").render(page=page, policy=policy, script=script, style=style)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # ASCII alone: a lone surrogate in a key stays an escape instead of breaking the page's UTF-8.
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "ensure_ascii": True}
    return environment


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
