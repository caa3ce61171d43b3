"""POST /decisions of the live gallery: one decision, from the page that this server has served and from no other.

A browser sends a page's ``Origin`` with every POST, and lets no page of another origin send JSON without asking first
(https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html). Both are
checked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from bucketlens.gallery.data import Picture
from bucketlens.reviews import Conflict, Decision, ReviewSession
from classifier.errors import UserError

LONGEST_BODY = 16 * 1024
WITHDRAWN = "withdrawn"

Answer = tuple[str, dict[str, Any]]
"""An HTTP status, and the JSON document that goes with it: the result's columns of the decision, or ``error``."""


def answer(session: ReviewSession, environ: Mapping[str, Any]) -> Answer:
    """Record the decision of a request.

    Its body is ``{"image_uri", "picture", "model_version", "decision", "label"}``: ``picture`` and ``model_version`` as
    the page has shown them, ``decision`` a :class:`bucketlens.reviews.Decision` or ``withdrawn``, which comes with the
    ``decided_at`` of what is withdrawn in place of a label.
    """
    refusal = _refusal(environ)
    if refusal is not None:
        return refusal
    try:
        # WSGI: a client may send more than it has announced, so no more than that is read.
        wanted = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        return "200 OK", _recorded(session, wanted)
    except Conflict as error:
        return "409 Conflict", {"error": str(error)}
    except UserError as error:
        return "422 Unprocessable Content", {"error": str(error)}
    except (ValueError, KeyError, TypeError, RecursionError):
        return "400 Bad Request", {"error": "the request is not a decision"}
    except (BotoCoreError, ClientError) as error:
        return "502 Bad Gateway", {"error": " ".join(str(error).split())}


def _refusal(environ: Mapping[str, Any]) -> Answer | None:
    # The host has been checked to be an address of this machine, so no name that points here can be the origin.
    if environ.get("HTTP_ORIGIN") != f"{environ['wsgi.url_scheme']}://{environ['HTTP_HOST']}":
        return "403 Forbidden", {"error": "decisions are taken from the gallery's own page alone"}
    if environ.get("CONTENT_TYPE") != "application/json":
        return "415 Unsupported Media Type", {"error": "a decision is sent as application/json"}
    length = environ.get("CONTENT_LENGTH") or ""
    if not length.isascii() or not length.isdigit():
        return "411 Length Required", {"error": "the request does not say how long it is"}
    if int(length) > LONGEST_BODY:
        return "413 Content Too Large", {"error": f"a decision has at most {LONGEST_BODY} bytes"}
    return None


def _recorded(session: ReviewSession, wanted: dict[str, Any]) -> dict[str, Any]:
    image_uri, label = _text(wanted["image_uri"]), wanted.get("label")
    if wanted["decision"] == WITHDRAWN:
        session.reviews.withdraw(image_uri, _text(wanted["decided_at"]))
        return {"decision": None, "decided_label": None, "reviewer": None, "decided_at": None}
    decision = Decision(wanted["decision"])
    item = session.result(image_uri)
    picture = Picture.of(item)
    seen = (wanted["picture"], wanted["model_version"])
    if (picture.id if picture else None, item.get("model_version")) != seen:
        raise Conflict(f"{image_uri} has been classified again since the page was read: refresh it")
    made = session.decide(item, decision, None if label is None else _text(label))
    return {
        "decision": str(made.decision),
        "decided_label": made.label,
        "reviewer": made.reviewer,
        "decided_at": made.decided_at,
    }


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
