"""Every rule fires on a data set spoiled for it and is silent on a sound one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from classifier.errors import UserError
from model_build.inspection.evidence import IssueSeverity
from model_build.inspection.summary import balance_of, recommend_input_size
from tests.unit.model_build.inspection.scenes import codes, encoded, inspected, scene, scenes, write

Files = dict[str, "bytes | Image.Image"]


def sound() -> Files:
    return scenes({"train/a": 24, "train/b": 24, "validation/a": 12, "validation/b": 12, "test/a": 12, "test/b": 12})


def test_a_sound_data_set_is_fit_and_only_told_to_be_small(tmp_path: Path) -> None:
    inspection = inspected(tmp_path, sound())
    assert codes(inspection) == {"splits.small_test": "note"}
    assert inspection.verdict == "Ready for training."


def test_unreadable_files_keep_the_functions_own_reasons(tmp_path: Path) -> None:
    files = sound()
    files |= {
        "train/a/empty.jpg": b"",
        "train/a/cut.png": encoded(scene(1))[:200],
        "train/b/notes.txt": b"not a picture",
        "train/b/renamed.jpg": b"not a picture either",
    }
    inspection = inspected(tmp_path, files)
    assert {one.photo.name: one.refused.code for one in inspection.evidence.unreadable} == {
        "train/a/cut.png": "image.corrupt",
        "train/a/empty.jpg": "image.empty",
        "train/b/notes.txt": "image.unsupported_format",
        "train/b/renamed.jpg": "image.unsupported_format",
    }
    by_code = {finding.code: finding for finding in inspection.findings}
    assert set(by_code["files.unreadable"].files) == {"train/a/empty.jpg", "train/a/cut.png", "train/b/renamed.jpg"}
    assert by_code["files.unreadable"].severity is IssueSeverity.FIX
    assert by_code["files.foreign"].files == ("train/b/notes.txt",)
    assert all(one.refused.message for one in inspection.evidence.unreadable)


def test_many_unreadable_files_stop(tmp_path: Path) -> None:
    files = sound() | {f"train/a/{index}.jpg": b"\xff\xd8\xff" for index in range(40)}
    assert codes(inspected(tmp_path, files))["files.unreadable"] == "stop"


@pytest.mark.parametrize(
    ("counts", "code", "severity"),
    [
        ({"a": 30}, "classes.one", "stop"),
        ({"a": 30, "b": 2}, "classes.untrainable", "stop"),
        ({"train/a": 30, "train/b": 30, "test/c": 10}, "classes.untrainable", "stop"),
        ({"a": 30, "b": 19}, "classes.few_photos", "fix"),
        ({"a": 60, "b": 20}, "classes.imbalance", "note"),
        ({"a": 200, "b": 20}, "classes.imbalance", "fix"),
        ({"a": 30, "b": 30}, "splits.none", "note"),
        ({"train/a": 30, "train/b": 30, "test/a": 10, "test/b": 10}, "splits.no_validation", "note"),
        ({"train/a": 30, "train/b": 30, "val/a": 10, "val/b": 10}, "splits.no_test", "note"),
        ({"train/a": 30, "train/b": 30, "test/a": 10, "test/b": 9}, "splits.thin_test", "note"),
        ({"train/a": 30, "train/b": 30, "test/a": 30, "test/b": 10}, "splits.shift", "note"),
    ],
)
def test_counts_are_judged(tmp_path: Path, counts: dict[str, int], code: str, severity: str) -> None:
    assert codes(inspected(tmp_path, scenes(counts)))[code] == severity


@pytest.mark.parametrize(
    ("counts", "code"),
    [
        ({"a": 30, "b": 3}, "classes.untrainable"),
        ({"a": 30, "b": 20}, "classes.few_photos"),
        ({"a": 59, "b": 20}, "classes.imbalance"),
        ({"train/a": 30, "train/b": 30, "test/a": 12, "test/b": 10}, "splits.shift"),
        ({"train/a": 30, "train/b": 30, "test/a": 12, "test/b": 10}, "splits.thin_test"),
    ],
)
def test_counts_just_inside_pass(tmp_path: Path, counts: dict[str, int], code: str) -> None:
    assert code not in codes(inspected(tmp_path, scenes(counts)))


def test_a_format_that_gives_a_class_away_is_a_shortcut(tmp_path: Path) -> None:
    files = scenes({"a": 25}) | {f"b/{index}.jpg": encoded(scene(100 + index), "JPEG") for index in range(25)}
    assert codes(inspected(tmp_path / "betrayed", files))["shortcut.format"] == "fix"
    files |= {f"a/{index}.jpg": encoded(scene(200 + index), "JPEG") for index in range(25)}
    assert "shortcut.format" not in codes(inspected(tmp_path / "mixed", files))


def test_shapes_and_suffixes_are_judged(tmp_path: Path) -> None:
    files = scenes({"a": 25, "b": 25})
    files |= {f"a/wide{index}.png": scene(100 + index, (300, 100)) for index in range(10)}
    files |= {"b/icon.png": scene(150, (24, 24)), "b/named.jpg": encoded(scene(151))}
    inspection = inspected(tmp_path, files)
    found = {finding.code: finding.files for finding in inspection.findings}
    assert "sizes.wide" in found
    assert found["sizes.tiny"] == ("b/icon.png",)
    assert found["files.suffix"] == ("b/named.jpg",)


def test_findings_come_worst_first(tmp_path: Path) -> None:
    files = scenes({"a": 30, "b": 19, "c": 2})
    order = [finding.severity for finding in inspected(tmp_path, files).findings]
    assert order == sorted(order, key=list(IssueSeverity).index)
    assert order[0] is IssueSeverity.STOP


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "does not exist"),
        ({"loose.png": b"x"}, "no class folders"),
        ({"a/.hidden": b"x"}, "contain no files"),
        ({"a/x.jpg": b"no picture", "b/y.jpg": b""}, "none of the 2 files"),
    ],
)
def test_what_cannot_be_inspected_is_one_clear_line(tmp_path: Path, files: Files, message: str) -> None:
    write(tmp_path / "data", files)
    with pytest.raises(UserError, match=message) as raised:
        inspected(tmp_path / "data")
    assert "\n" not in str(raised.value)


def test_balance_is_a_ratio_and_an_entropy() -> None:
    even = balance_of({"a": 10, "b": 10, "c": 10})
    assert even.ratio == 1
    assert even.evenness == pytest.approx(1)
    uneven = balance_of({"a": 90, "b": 10, "empty": 0})
    assert uneven.ratio == 9
    assert uneven.evenness == pytest.approx(0.469, abs=0.001)  # the binary entropy of 0.1
    assert balance_of({"a": 5}).evenness == 0


@pytest.mark.parametrize(
    ("sides", "pixels"),
    [
        ([28] * 4, 32),
        ([8] * 4, 32),
        ([100] * 4, 96),
        ([400] * 4, 224),
        ([4000] * 4, 224),
        ([64, 300, 300, 300, 300], 224),
    ],
)
def test_the_input_size_is_what_three_quarters_of_the_photos_fill(sides: list[int], pixels: int) -> None:
    found = recommend_input_size(sides)
    assert found.pixels == pixels
    assert found.reason


def detailed(seed: int) -> Image.Image:
    """A bright scene with fine detail."""
    rng = np.random.default_rng(seed)
    fine = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)).resize((160, 120))
    return Image.blend(scene(seed), fine, 0.5)


def test_dark_and_blurred_photos_are_told_apart(tmp_path: Path) -> None:
    files: Files = {f"{'ab'[number % 2]}/{number}.png": detailed(number) for number in range(80)}
    files["a/dark.png"] = ImageEnhance.Brightness(detailed(100)).enhance(0.2)
    files["a/blurred.png"] = detailed(101).filter(ImageFilter.GaussianBlur(3))
    files["a/pale.png"] = ImageEnhance.Contrast(detailed(102)).enhance(0.2)
    files["a/blank.png"] = Image.new("RGB", (160, 120))
    found = {finding.code: set(finding.files) for finding in inspected(tmp_path, files).findings}
    assert found["photos.dark"] == {"a/dark.png"}
    assert found["photos.blurred"] == {"a/blurred.png"}
    assert found["photos.blank"] == {"a/blank.png"}


def test_a_data_set_of_soft_photos_is_not_called_blurred(tmp_path: Path) -> None:
    assert not {"photos.dark", "photos.blurred"} & codes(inspected(tmp_path, scenes({"a": 30, "b": 30}))).keys()
