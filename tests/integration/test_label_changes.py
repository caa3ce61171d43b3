"""``model diff --prefix``: the images of a bucket that change their label, as table, data and page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bucketlens.cli.main import main
from bucketlens.label_changes import find_label_changes
from bucketlens.label_changes_html import MOST_PICTURES, render
from classifier.errors import UserError
from model_build.evaluation.comparison import Change
from tests.conftest import BUCKET, Aws
from tests.support.bundles import CREATED, FIXTURES, bundle_files, publish
from tests.support.gallery import HOSTILE

URI = f"s3://{BUCKET}/models/"
PREFIX = f"s3://{BUCKET}/incoming/"
HOSTILE_KEY = HOSTILE[0]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def versions(aws: Aws) -> tuple[str, str]:
    """A model that is right, and one that takes red and green for each other; images; and what is no image."""
    right = publish(aws.s3, BUCKET, bundle_files())
    swapped = bundle_files(created=CREATED + timedelta(hours=1), labels=("green", "red", "blue"))
    images = FIXTURES / "images"
    for name in ("red.png", "green.jpg", "blue.webp", "notes.txt", "truncated.jpg"):
        aws.put(f"incoming/a/{name}", (images / name).read_bytes())
    aws.put(HOSTILE_KEY, (images / "red.png").read_bytes())
    aws.put("incoming/folder/", b"")
    aws.put("texts/a.txt", b"no image")
    aws.put("elsewhere/red.png", (images / "red.png").read_bytes())
    return right, publish(aws.s3, BUCKET, swapped)


@pytest.fixture
def model(aws: Aws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.endpoint_url)
    monkeypatch.setenv("BUCKETLENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["bucketlens", "model", "diff", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return run


def test_the_changes_as_data_and_as_a_page(model: Command, versions: tuple[str, str], tmp_path: Path) -> None:
    code, out, err = model(*versions, "--at", URI, "--prefix", PREFIX, "--format", "json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["photos"], found["changed"]) == (4, 3)
    assert {(one["photo"], one["a"], one["b"]) for one in found["changes"]} == {
        ("incoming/a/red.png", "red", "green"),
        (HOSTILE_KEY, "red", "green"),
        ("incoming/a/green.jpg", "green", "red"),
    }
    assert {(one["name"], one["code"]) for one in found["unreadable"]} == {
        ("incoming/a/notes.txt", "image.unsupported_format"),
        ("incoming/a/truncated.jpg", "image.corrupt"),
    }
    sums = [one["a_confidence"] + one["b_confidence"] for one in found["changes"]]
    assert sums == sorted(sums, reverse=True)
    assert "rejected by both: 1 image.corrupt" in err

    page = (tmp_path / "label-changes.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/jpeg;base64,') == 3
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;.jpg" in page
    assert "3</strong><span>change their label (75.0%)" in page


def test_the_changes_as_table_and_csv(model: Command, versions: tuple[str, str], tmp_path: Path) -> None:
    code, out, _ = model(*versions, "--at", URI, "--prefix", f"{PREFIX}a", "--format", "csv", "--out", "page.html")
    rows = {row["photo"]: (row["label"], row["a"], row["b"]) for row in csv.DictReader(io.StringIO(out))}
    assert code == 0
    assert rows == {"incoming/a/green.jpg": ("", "green", "red"), "incoming/a/red.png": ("", "red", "green")}
    assert (tmp_path / "page.html").is_file()
    code, out, err = model(*versions, "--at", URI, "--prefix", PREFIX, "--limit", "2")
    assert code == 0
    assert "1 of 2 images change their label" in out
    assert "a sample, spread over all 6 images; --limit takes more" in err
    code, out, _ = model(versions[0], versions[0], "--at", URI, "--prefix", PREFIX)
    assert out.startswith("0 of 4 images change their label")
    assert "Every image keeps its label." in (tmp_path / "label-changes.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--prefix", PREFIX, "photos"), "either a folder of photos, or --prefix"),
        ((), "either a folder of photos, or --prefix"),
        (("--prefix", "incoming/"), "is not a data location"),
        (("--prefix", f"s3://{BUCKET}/nothing/"), "no image below"),
        (("--prefix", f"s3://{BUCKET}/texts/"), "the first is rejected: image.unsupported_format"),
        (("--prefix", PREFIX, "--out", "."), "cannot be written"),
    ],
)
def test_mistakes_are_one_line(
    model: Command, versions: tuple[str, str], arguments: tuple[str, ...], told: str
) -> None:
    code, out, err = model(*versions, "--at", URI, *arguments)
    assert (code, out) == (1, "")
    assert told in err
    assert "Traceback" not in err


def test_a_page_of_many_changes_shows_the_first_and_counts_all(aws: Aws, versions: tuple[str, str]) -> None:
    found = find_label_changes(f"{URI}{versions[0]}/", f"{URI}{versions[1]}/", PREFIX, connect=lambda: aws.s3)
    many = tuple(Change(f"incoming/{number}.png", None, "red", 0.9, f"l{number % 40}", 0.4) for number in range(1200))
    difference = replace(found.difference, photos=2000, changes=many)
    marked = {change.photo: (False, True) for change in many}
    page = render(replace(found, difference=difference, for_review=marked), {}, "today")
    assert page.count("no picture") == MOST_PICTURES
    assert "The first 500 of 1,200" in page
    assert "and 10 more pairs of labels" in page
    assert page.count("review</span>") == MOST_PICTURES
    with pytest.raises(UserError, match="is a version; say where it is published"):
        find_label_changes(versions[0], versions[1], PREFIX, connect=lambda: aws.s3)
