"""``bucketlens results gallery`` against a stack: what it writes, what it says, what it refuses."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bucketlens.cli.main import app
from bucketlens.local.stack import LocalStack
from classifier.errors import UserError
from classifier.model import Prediction
from classifier.records import ImageFacts, ModelIdentity, Rejection
from classifier.records import Result as Classified
from tests.conftest import ROOT
from tests.support.images import png

MODEL = ModelIdentity("m", "20261120T101500Z-5d313724", "0" * 64)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    folder = tmp_path_factory.mktemp("log")
    with LocalStack(ROOT / "template.yaml", port=0, event_source=False, log_folder=folder) as running:
        for number, colour in enumerate(("red", "green", "blue")):
            etag = running.aws.s3.put_object(Bucket=running.bucket, Key=f"incoming/{colour}.png", Body=png(colour))[
                "ETag"
            ]
            put(running, colour, etag.strip('"'), top=(Prediction(colour, 0.9 - number / 10),))
        put(running, "gone", "0" * 32, top=(Prediction("red", 0.5),))
        put(running, "bad", "1" * 32, error=Rejection("image.corrupt", "PNG cannot be decoded"))
        yield running


def put(stack: LocalStack, name: str, etag: str, **outcome: Any) -> None:
    image = ImageFacts(stack.bucket, f"incoming/{name}.png", etag=etag, size_bytes=7)
    made = Classified(image, MODEL, "2026-11-20T12:00:00.000Z", "r", **outcome)
    stack.aws.dynamodb.put_item(TableName=stack.table, Item=made.to_item(sequencer="0A", output_uri=None))


@pytest.fixture
def run(stack: LocalStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_ENDPOINT_URL", stack.endpoint_url)
    monkeypatch.setenv("BUCKETLENS_CACHE", str(tmp_path / "cache"))

    def invoke(*words: str) -> Result:
        return CliRunner().invoke(app, ["results", "gallery", *words])

    return invoke


def blocks(html: str) -> list[dict[str, Any]]:
    """The page's data blocks."""
    return [json.loads(text) for text in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', html)]


def test_a_folder_holds_the_page_and_each_picture_once(run: Any, tmp_path: Path) -> None:
    done = run("--out", str(tmp_path / "site"))
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{tmp_path / 'site' / 'index.html'}\n"
    assert "no picture for 1: the image has been deleted since it was classified" in done.stderr
    assert "5 results" in done.stderr
    names = sorted(path.name for path in (tmp_path / "site").iterdir())
    assert names == ["gallery.css", "gallery.js", "index.html", "thumbnails"]
    document, queue = blocks((tmp_path / "site" / "index.html").read_text())
    shown = [name for name in document["columns"]["picture"] if name is not None]
    assert document["count"] == 5
    assert len(queue) == 4
    assert sorted(f"{name}.jpg" for name in shown) == sorted(
        path.name for path in (tmp_path / "site" / "thumbnails").iterdir()
    )
    assert len(shown) == 3
    assert len(list((tmp_path / "cache").rglob("*.jpg"))) == 3


def test_a_file_holds_everything(run: Any, tmp_path: Path) -> None:
    out = tmp_path / "new" / "results.html"
    done = run("--out", str(out), "--limit", "4")
    assert done.exit_code == 0, done.output
    assert "only the first 4 results" in done.stderr
    html = out.read_text()
    document, _, thumbnails = blocks(html)
    assert document["count"] == 4
    assert "gallery.js" not in html
    assert "unsafe" not in html
    for encoded in thumbnails.values():
        assert base64.b64decode(encoded).startswith(b"\xff\xd8\xff")
    assert [path.name for path in out.parent.iterdir()] == ["results.html"]


def test_a_folder_with_files_is_left_alone_before_anything_is_fetched(run: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = run("--out", str(tmp_path))
    assert isinstance(done.exception, UserError)
    assert "already there" in str(done.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
