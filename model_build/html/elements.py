"""Pieces of a self-contained HTML page: its frame and style, tables, tiles, embedded pictures.

A page names no other host and runs no script but the one it is given; its own Content-Security-Policy holds it to that,
so that a file name which slipped through unescaped could do nothing either. Charts are in
:mod:`model_build.html.charts`.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Sequence

STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --panel: #f4f6f9; --ink: #1b2733; --muted: #586879; --line: #d8dfe7;
  --accent: #2463c5; --series1: #2f6fd0; --series2: #e39a2d; --series3: #23998a; --series4: #9a63c4;
  --stop: #b3261e; --stop-soft: #fdecea; --fix: #8a5300; --fix-soft: #fdf3df; --note: #23568f; --note-soft: #e9f1fb;
  --good: #1d6b3f; --good-soft: #e6f4ec; }
@media (prefers-color-scheme: dark) { :root { --page: #14181d; --panel: #1d232b; --ink: #e4e9ef; --muted: #9eacba;
  --line: #333d48; --accent: #82b1f7; --series1: #5b95ec; --series2: #e6aa55; --series3: #45b5a5; --series4: #b98be0;
  --stop: #f4a19b; --stop-soft: #3c1d1b; --fix: #f0c377; --fix-soft: #382a12; --note: #9dc4f3; --note-soft: #182a40;
  --good: #8ed5ab; --good-soft: #15311f; } }
* { box-sizing: border-box; }
body { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; margin: 0 auto;
  max-width: 64rem; padding: 2rem 1.25rem 4rem; color: var(--ink); background: var(--page); }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 2.75rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .5rem; }
p { margin: .5rem 0; max-width: 48rem; } a { color: var(--accent); }
.nowrap { white-space: nowrap; } .muted { color: var(--muted); } .small { font-size: .875rem; }
code { font: .875em ui-monospace, "SF Mono", Menlo, "Liberation Mono", monospace; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-size: .9375rem; }
th, td { padding: .3rem 1.25rem .3rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { font-weight: 600; } th[scope="row"] { white-space: nowrap; }
thead th { color: var(--muted); font-size: .8125rem; white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.tiles { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.25rem 0; padding: 0; list-style: none; }
.tiles li { flex: 1 1 9rem; background: var(--panel); border-radius: .5rem; padding: .7rem .9rem; }
.tiles strong { display: block; font-size: 1.5rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tiles span { color: var(--muted); font-size: .875rem; }
.verdict { border-radius: .5rem; padding: .9rem 1.1rem; margin: 1.25rem 0; font-size: 1.1rem; }
.verdict p { margin: 0; max-width: none; } .verdict p + p { font-size: 1rem; margin-top: .3rem; }
.stop { color: var(--stop); background: var(--stop-soft); } .fix { color: var(--fix); background: var(--fix-soft); }
.note { color: var(--note); background: var(--note-soft); } .good { color: var(--good); background: var(--good-soft); }
.badge { display: inline-block; border-radius: 1rem; padding: .05rem .65rem; font-size: .8125rem; font-weight: 600;
  white-space: nowrap; }
figure { margin: 1rem 0; } figcaption { color: var(--muted); font-size: .875rem; max-width: 48rem; }
img { max-width: 100%; } svg { display: block; max-width: 100%; height: auto; }
svg text { fill: var(--ink); font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
svg .tick { fill: var(--muted); font-size: 12px; } svg .grid { stroke: var(--line); } svg .mark { stroke: var(--ink); }
svg .series1 { fill: var(--series1); } svg .series2 { fill: var(--series2); } svg .series3 { fill: var(--series3); }
svg .series4 { fill: var(--series4); }
details { margin: .5rem 0; } summary { cursor: pointer; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
@media print { body { max-width: none; padding: 0; } h2 { break-after: avoid; } figure, tr { break-inside: avoid; } }
"""

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Html(str):
    """Text that is HTML already: it is not escaped again."""

    __slots__ = ()


def text(value: object) -> Html:
    """``value`` as HTML: escaped unless it is :class:`Html`."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def page(title: str, parts: Iterable[str], *, style: str = "", script: str = "") -> str:
    """A whole document. ``parts`` are HTML; ``style`` is CSS that this page alone needs; ``script``, which must hold no
    data and no ``</script``, runs at its end."""
    body = "\n".join(parts)
    policy = _POLICY
    if script:
        policy += f"; script-src 'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        body += f"\n<script>{script}</script>"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{STYLE}{style}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def join(parts: Iterable[str]) -> Html:
    """HTML parts in a row."""
    return Html("".join(parts))


def element(name: str, content: object, kind: str | None = None) -> Html:
    """``<name class="kind">content</name>``."""
    attribute = f' class="{html.escape(kind)}"' if kind else ""
    return Html(f"<{name}{attribute}>{text(content)}</{name}>")


def table(head: Sequence[object], rows: Iterable[Sequence[object]], *, words: Sequence[int] = (0,)) -> Html:
    """A table that scrolls sideways where it does not fit. Columns in ``words`` are text, the others numbers."""

    def row(cells: Sequence[object], name: str, scope: str = "") -> str:
        kinds = ("" if index in words else ' class="number"' for index in range(len(cells)))
        return "".join(f"<{name}{scope}{kind}>{text(cell)}</{name}>" for cell, kind in zip(cells, kinds, strict=True))

    top = row(head, "th", ' scope="col"')
    body = "".join(f"<tr>{row(cells, 'td')}</tr>" for cells in rows)
    return Html(f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>')


def facts(rows: Iterable[tuple[object, object]]) -> Html:
    """A table of names and values."""
    lines = "".join(f'<tr><th scope="row">{text(name)}</th><td>{text(value)}</td></tr>' for name, value in rows)
    return Html(f'<div class="scroll"><table>{lines}</table></div>')


def tiles(rows: Iterable[tuple[object, object]]) -> Html:
    """Large figures with what they are: (figure, what)."""
    items = "".join(f"<li><strong>{text(figure)}</strong><span>{text(what)}</span></li>" for figure, what in rows)
    return Html(f'<ul class="tiles">{items}</ul>')


def verdict_box(kind: str, head: object, body: object) -> Html:
    """What to do, and on what it rests; ``kind`` as of :func:`badge`."""
    return element("div", join([element("p", element("strong", head)), element("p", body)]), f"verdict {kind}")


def badge(words: object, kind: str) -> Html:
    """A coloured word; ``kind`` is ``stop``, ``fix``, ``note`` or ``good``."""
    return element("span", words, f"badge {kind}")


def figure(content: Html, caption: object) -> Html:
    return Html(f"<figure>{content}<figcaption>{text(caption)}</figcaption></figure>")


def picture(data: bytes, mime: str, alt: str, *, size: tuple[int, int] | None = None, title: str | None = None) -> Html:
    """An embedded picture. ``size`` is (width, height) in pixels."""
    attributes = f' width="{size[0]}" height="{size[1]}"' if size else ""
    if title is not None:
        attributes += f' title="{html.escape(title)}"'
    encoded = base64.b64encode(data).decode("ascii")
    return Html(f'<img src="data:{mime};base64,{encoded}" alt="{html.escape(alt)}"{attributes}>')
