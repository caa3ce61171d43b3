"""Object keys, labels and messages are other people's text: how they are shown without doing anything.

A terminal obeys control characters in what is printed, a spreadsheet computes cells that begin like a formula, and
bidirectional controls make a name read as another one (https://trojansource.codes,
https://owasp.org/www-community/attacks/CSV_Injection).
"""

from __future__ import annotations

import json
import re
from typing import Any

# C0, DEL and C1; the marks, embeddings, overrides and isolates of Unicode's bidirectional algorithm (UAX #9); line and
# paragraph separators; lone surrogates, which no encoding can write.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# OWASP's list, with the full-width forms that some locales take for the plain ones.
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")


def printable(text: str) -> str:
    r"""``text`` on one line and without control characters: ``\x1b``, ``\u202e`` in their place."""
    return _UNSAFE.sub(lambda found: _escaped(found[0], r"\x{:02x}"), text)


def json_text(value: Any, *, indent: int | None = None) -> str:
    r"""``value`` as JSON that reads back exactly, with control characters as ``\u009b``."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    # json.dumps escapes what is below 0x20; its own line breaks are between the values.
    return _UNSAFE.sub(lambda found: found[0] if found[0] == "\n" else _escaped(found[0], r"\u{:04x}"), text)


def csv_cell(value: Any) -> str:
    """A value as the text of a spreadsheet's cell: nothing for None, and never a formula."""
    if isinstance(value, str):
        return ("'" if value.startswith(_FORMULA) else "") + printable(value)
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _escaped(character: str, narrow: str) -> str:
    code = ord(character)
    return (narrow if code < 0x100 else r"\u{:04x}").format(code)
