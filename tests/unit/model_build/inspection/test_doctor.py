"""The label check as a whole: photos and features -> list, page and CSV; the network is not needed where its features
are in the cache."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from bucketlens.cli.main import app
from classifier.errors import UserError
from classifier.imaging import DRAFT_MARGIN, ResizePolicy
from model_build import apply_decisions, undo_decisions
from model_build.data.dataset import Photo, scan
from model_build.data.tensors import decode_photos
from model_build.inspection.doctor import LabelCheck, check_labels, network_features, with_centre
from model_build.inspection.facts import FactsCache
from model_build.inspection.label_check_html import render
from model_build.training.backbones import build_backbone, find_backbone
from model_build.training.choosing import features_key
from model_build.training.observers import SILENT
from model_build.training.predicting import predict_logits
from model_build.training.probing import cached_features
from model_build.training.weights import configured
from tests.unit.model_build.inspection.test_inspection_html import check as check_html
from tests.unit.model_build.photos import COLOURS, photo, write_photos

HOSTILE = "<script>alert(1)<&>'\"[red]"
WRONG = {"train/green/red-a.png": "red", "train/blue/red-b.png": "red", "test/red/blue-c.png": "blue"}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three colours, told apart by their pixels, and three photos in the wrong folder."""
    root = write_photos(
        tmp_path / "photos", {f"{split}/{colour}": 12 for split in ("train", "test") for colour in COLOURS}
    )
    for number, (name, colour) in enumerate(WRONG.items()):
        (root / name).write_bytes(photo(COLOURS[colour], seed=10_000 + number))
    return root


def mean_colours(photos: Sequence[Photo], _: Sequence[str]) -> tuple[str, NDArray[np.float32]]:
    means = [np.asarray(Image.open(one.path), dtype=np.float32).mean(axis=(0, 1)) for one in photos]
    return "mean colours", np.array(means, dtype=np.float32)


def checked(root: Path, limit: int = 50) -> LabelCheck:
    with FactsCache(None) as facts:
        return check_labels(str(root), root, facts, mean_colours, limit=limit, watcher=SILENT)


def test_photos_in_the_wrong_folder_are_listed_with_the_right_label(photos: Path) -> None:
    (photos / "train/red/broken.png").write_bytes(b"no photo")
    check = checked(photos)
    assert {one.facts.name: one.likely for one in check.listed} == WRONG
    assert all(one.label_score < one.likely_score for one in check.listed)
    assert (check.photos, check.unreadable, check.doubtful, check.labels) == (75, 1, 3, ("blue", "green", "red"))
    assert check.noticed is not None
    assert check.noticed > 0.9
    first = checked(photos, limit=1)
    assert first.listed == check.listed[:1]
    assert first.doubtful == 3


def test_after_what_was_decided_nothing_is_doubtful_any_more(photos: Path, tmp_path: Path) -> None:
    rows = [f"{one.facts.name},{one.facts.label},{one.likely},move," for one in checked(photos).listed]
    decisions = tmp_path / "decisions.csv"
    decisions.write_text("\n".join(["photo,label,likely,decision,to", *rows]))
    apply_decisions(photos, decisions)
    after = checked(photos)
    assert (after.photos, after.listed) == (75, ())
    assert "Every photo looks most like the photos of its own class." in render(after, {}, "today")
    undo_decisions(photos)
    assert len(checked(photos).listed) == 3


def test_one_class_cannot_be_judged(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has readable photos in the class 'red' only"):
        checked(write_photos(tmp_path / "photos", {"red": 3}))


def test_no_name_on_the_page_is_markup_and_its_script_is_the_only_one_allowed(photos: Path) -> None:
    (photos / "train/green/red-a.png").rename(photos / f"train/green/{HOSTILE.replace('/', '')}.png")
    page = render(checked(photos), {}, "2026-11-20 12:00 UTC")
    page_tags = check_html(re.sub("<input[^>]*>", "", page)).tags
    assert [attributes for tag, attributes in page_tags if tag == "script"] == [{}]
    assert not [name for _, attributes in page_tags for name in attributes if name.startswith("on")]
    assert "&lt;script&gt;alert(1)&lt;&amp;&gt;&#x27;&quot;[red]" in page
    script = re.findall("<script>(.*?)</script>", page, re.DOTALL)
    assert len(script) == 1
    digest = hashlib.sha256(script[0].encode()).digest()
    assert f"script-src 'sha256-{base64.b64encode(digest).decode()}'" in page


def cached(photos: Path, cache: Path) -> None:
    """Put features of the network that is the default into the cache: it is then not needed."""
    found = {hashlib.sha256(one.path.read_bytes()).hexdigest(): one for one in scan(photos).photos}
    digests = sorted(found)
    values = mean_colours([found[digest] for digest in digests], digests)[1]
    config = replace(configured(None, {"backbone": "efficientnet_lite0"}, None), image_size=224)
    cached_features(cache / "features", ("centre", *features_key(config, None), *digests), lambda: values)


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["model", "doctor", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_command_writes_page_and_csv_and_moves_what_is_decided(photos: Path, tmp_path: Path) -> None:
    cache, page, decisions = tmp_path / "cache", tmp_path / "doctor.html", tmp_path / "decisions.csv"
    cached(photos, cache)
    where = ("--cache", cache, "--out", page)
    shown = run(photos, *where, "--decisions", decisions)
    assert "3 of 75 photos look more like another class; of labels changed as a trial 97% are noticed" in shown
    assert page.read_text().count("data:image/webp;base64,") == 3
    document = json.loads(run(photos, *where, "--format", "json"))
    assert {one["photo"]: one["likely"] for one in document["listed"]} == WRONG
    assert document["network"] == "efficientnet_lite0"
    printed = list(csv.DictReader(io.StringIO(run(photos, *where, "--format", "csv"))))
    assert [one["photo"] for one in printed] == [one["photo"] for one in document["listed"]]

    again = CliRunner().invoke(app, ["model", "doctor", str(photos), "--decisions", str(decisions)])
    assert isinstance(again.exception, UserError)
    assert "perhaps with your decisions" in str(again.exception)

    rows = list(csv.reader(io.StringIO(decisions.read_text())))
    rows[1][3], rows[2][3] = "move", "remove"
    with decisions.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    before = sorted(path for path in photos.rglob("*.png"))
    assert "2 photos would be moved" in run(photos, "--apply", decisions, "--dry-run")
    assert sorted(path for path in photos.rglob("*.png")) == before
    assert "2 photos moved" in run(photos, "--apply", decisions)
    cached(photos, cache)
    assert "1 of 74 photos look more like another class" in run(photos, *where)
    assert len(list((cache / "features").iterdir())) == 2  # no others were computed
    assert "2 photos moved" in run(photos, "--undo")
    assert sorted(path for path in photos.rglob("*.png")) == before


@pytest.mark.parametrize("arguments", [["--apply", "a.csv", "--undo"], ["--dry-run"]])
def test_options_that_do_not_go_together(photos: Path, arguments: list[str]) -> None:
    result = CliRunner().invoke(app, ["model", "doctor", str(photos), *arguments])
    assert isinstance(result.exception, UserError)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
def test_features_are_those_of_the_network_and_computed_once(tmp_path: Path) -> None:
    photos = scan(write_photos(tmp_path / "photos", {"red": 2, "blue": 2})).photos
    digests = [hashlib.sha256(one.path.read_bytes()).hexdigest() for one in photos]
    network = build_backbone(find_backbone("small_cnn"), size=32)
    weights = tmp_path / "small.weights.h5"
    network.save_weights(weights)
    for _ in range(2):
        name, found = network_features("small_cnn", weights, tmp_path, SILENT)(photos, digests)
        assert (name, found.shape) == ("small_cnn", (4, 2 * network.output.shape[1]))
        assert len(list((tmp_path / "features").iterdir())) == 1
    pixels = decode_photos(photos, height=32, width=32, policy=ResizePolicy.STRETCH, draft_margin=DRAFT_MARGIN)[
        0
    ].images
    np.testing.assert_allclose(found[:, : found.shape[1] // 2], predict_logits(network, pixels), rtol=1e-4, atol=1e-5)
    photos[0].path.write_bytes(photos[1].path.read_bytes())
    next((tmp_path / "features").iterdir()).unlink()
    with pytest.raises(UserError, match="has changed while it was read"):
        network_features("small_cnn", weights, tmp_path, SILENT)(photos, digests)


def test_an_unknown_network_and_weights_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown backbone 'lenet'"):
        network_features("lenet", None, tmp_path, SILENT)
    with pytest.raises(UserError, match="small_cnn has no pretrained weights"):
        network_features("small_cnn", None, tmp_path, SILENT)
    with pytest.raises(UserError, match=r"the weights .* do not exist"):
        network_features(None, tmp_path / "none.weights.h5", tmp_path, SILENT)


@pytest.mark.slow
def test_the_middle_of_the_photo_counts_twice() -> None:
    """A change at the border moves the features of the whole photo and not those of its middle."""
    network = build_backbone(find_backbone("small_cnn"), size=128)
    images = np.random.default_rng(1).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
    images[1] = images[0]
    images[1, :8, :8] = 255 - images[1, :8, :8]
    features = predict_logits(with_centre(network), images)
    half = features.shape[1] // 2
    np.testing.assert_allclose(features[:, :half], predict_logits(network, images), rtol=1e-5, atol=1e-6)
    assert np.abs(features[0, :half] - features[1, :half]).max() > 1e-5
    np.testing.assert_allclose(features[0, half:], features[1, half:], rtol=1e-5, atol=1e-6)
