"""What the demo refuses before it deletes the last one, and what it tells people to do next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bucketlens.demo import WORKSPACE, Drop, app, query_for, write_samples
from classifier.errors import UserError
from tests.support.gallery import item, rejected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "nope"], "nope does not exist; the last demo is left as it is"),
        (["--data", "empty"], "empty has no class folders"),
        (["--data", str(WORKSPACE / "digits")], "which the demo makes anew: copy it elsewhere first"),
        (["--model", "nope.tflite", "--labels", "empty", "--images", "empty"], "nope.tflite does not exist"),
        (["--model", "nope.tflite"], "needs all three"),
    ],
)
def test_what_cannot_be_shown_is_refused_before_the_last_demo_is_deleted(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photo = WORKSPACE / "digits" / "0" / "a.png"
    photo.parent.mkdir(parents=True)
    photo.touch()
    Path("empty").mkdir()
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, UserError)
    assert message in str(done.exception)
    assert photo.exists()


def test_the_samples_are_of_several_labels_with_half_a_file(tmp_path: Path) -> None:
    drops: list[Drop] = []
    for label in "aab":
        path = tmp_path / f"{len(drops)}.png"
        path.write_bytes(b"1234")
        drops.append(Drop(path, f"{label}/{path.name}", label))
    samples = write_samples(drops, tmp_path / "photos")
    assert [sample.key for sample in samples] == ["a/0.png", "b/2.png"]
    written = {path.relative_to(tmp_path / "photos").as_posix(): path.read_bytes()
               for path in (tmp_path / "photos").rglob("*.png")}  # fmt: skip
    assert written == {"a/0.png": b"1234", "b/2.png": b"1234", "cut.png": b"12"}


@pytest.mark.parametrize(
    ("items", "query"),
    [
        ([item(label="hat", confidence=0.82), item(label="dress", confidence=0.4)], "--label hat --min-confidence 0.8"),
        ([item(label="a hat", confidence=1)], "--label 'a hat' --min-confidence 1.0"),
        ([rejected("incoming/a.jpg")], "--rejected"),
    ],
)
def test_the_query_to_go_on_with_fits_the_results(items: list[dict[str, Any]], query: str) -> None:
    assert query_for(items) == query
