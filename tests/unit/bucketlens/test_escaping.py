"""Other people's text does nothing where it is shown, and JSON stays exact."""

from __future__ import annotations

import csv
import io
import json
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bucketlens.cli.results import print_table
from bucketlens.escaping import csv_cell, json_text, printable
from bucketlens.results import document, write_csv, write_json
from tests.support import gallery

ANY_TEXT = st.text(st.characters(exclude_categories=()))
BIDI = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
HOSTILE = "\x1b]0;owned\x07\x9b2J\r\u202egpj.exe\u2066"


def harmless(text: str) -> bool:
    return not any(
        unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(one) in BIDI for one in text
    )


@given(ANY_TEXT)
@example(HOSTILE)
def test_what_is_printed_holds_no_control_character(text: str) -> None:
    shown = printable(text)
    assert harmless(shown)
    shown.encode()
    if harmless(text) and not set(text) & set("\u061c\u200e\u200f"):
        assert shown == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", r"\x1b[31m"),
        ("a\u202eb", r"a\u202eb"),
        ("a\nb\t", r"a\x0ab\x09"),
        ("grüße 日本 👩‍🔬", "grüße 日本 👩‍🔬"),
    ],
)
def test_escapes_are_readable_and_other_scripts_stay(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(
    st.recursive(ANY_TEXT | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner))
)
@example({"key": HOSTILE})
def test_json_reads_back_exactly_and_prints_harmlessly(value: object) -> None:
    for indent in (None, 2):
        text = json_text(value, indent=indent)
        assert json.loads(text) == value
        assert harmless(text.replace("\n", ""))


@given(ANY_TEXT)
@example("=HYPERLINK()")
@example("\t=1")
@example("＝1")
def test_no_cell_is_a_formula(text: str) -> None:
    cell = csv_cell(text)
    assert not cell.startswith(tuple("=+-@\t\r＝＋－＠"))
    assert harmless(cell)
    assert cell.removeprefix("'") == printable(text).removeprefix("'")


def test_cells_of_other_values_stay_numbers() -> None:
    assert [csv_cell(value) for value in (None, True, -1.5, 7)] == ["", "true", "-1.5", "7"]


def test_every_format_of_results_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    item = {**gallery.item(f"incoming/{HOSTILE}", f"=1+{HOSTILE}"), "error_code": HOSTILE, "classified_at": HOSTILE}
    print_table(iter([item]))
    written, rows = io.StringIO(), io.StringIO()
    write_json([document(item)], written)
    write_csv(iter([item]), rows)
    for text in (capsys.readouterr().out, written.getvalue(), rows.getvalue()):
        assert harmless(text.replace("\n", ""))
    assert json.loads(written.getvalue()) == document(item)
    assert "labels" not in document(item)["prediction"]
    assert document({**item, "labels": [HOSTILE]})["prediction"]["labels"] == [HOSTILE]
    (row,) = csv.DictReader(io.StringIO(rows.getvalue()))
    assert row["label"].startswith("'=1+")
