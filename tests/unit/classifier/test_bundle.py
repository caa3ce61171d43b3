"""Manifest, pointer, locations: what is written is read back, and nonsense is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from classifier.bundle import (
    FileEntry,
    Manifest,
    ModelUri,
    OutputSpec,
    Pointer,
    Quantization,
    Scaling,
    verify,
    version_id,
)
from classifier.errors import BucketlensError, ConfigError, ModelIncompatibleError, ModelIntegrityError, TooManyPixels
from classifier.golden import GoldenPhoto, GoldenSet
from classifier.imaging import DRAFT_MARGINS, Limits, ResizePolicy, decode
from tests.support.bundles import bundle_files, manifest_for
from tests.support.images import encoded

VERSION = "20261120T101500Z-5d313724"


@pytest.mark.parametrize("draft_margin", DRAFT_MARGINS)
def test_a_manifest_is_read_back_as_it_was_written(draft_margin: int) -> None:
    manifest = manifest_for(
        draft_margin=draft_margin,
        resize=ResizePolicy.PAD,
        scaling=Scaling((1, 2, 3), (4, 5, 6.5)),
        output=OutputSpec("logits", "int8", Quantization(0.5, -3), temperature=1.7),
        labels=("größer", "a, b", "c"),
        metrics={"accuracy": 0.9},
    )
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest


@pytest.mark.parametrize(
    "change",
    [
        {"labels": []},
        {"labels": ["cat", " "]},
        {"labels": ["cat", "ü" * 1025]},
        {"version": "latest"},
        {"files": {}},
        {
            "files": {
                "model.tflite": {"size_bytes": 1, "sha256": ""},
                "../../etc/passwd": {"size_bytes": 1, "sha256": ""},
            }
        },
        {"files": {"model.tflite": {"size_bytes": 1, "sha256": ""}, "/etc/passwd": {"size_bytes": 1, "sha256": ""}}},
        {"review_threshold": 2},
        {"input": {"height": 0, "width": 1, "dtype": "uint8"}},
        {"input": {"height": 1, "width": 1, "dtype": "complex64"}},
        {"output": {"kind": "sigmoid", "dtype": "uint8"}},
        {"output": {"kind": "softmax", "dtype": "uint8", "temperature": 0}},
        {"output": {"kind": "softmax", "dtype": "uint8", "thresholds": [0.5, 0.5, 0.5]}},
        {"output": {"kind": "multi_label", "dtype": "uint8"}},
        {"output": {"kind": "multi_label", "dtype": "uint8", "thresholds": [0.5, 0.5]}},
        {"output": {"kind": "multi_label", "dtype": "uint8", "thresholds": [0.5, 0, 0.5]}},
        {"scaling": {"mean": [0, 0, 0], "std": [1, 0, 1]}},
        {"scaling": {"mean": [0, 0], "std": [1, 1]}},
        {"resize": "fit"},
        {"name": None, "input": None},
    ],
)
def test_a_manifest_with_a_wrong_part_is_refused(change: dict[str, Any]) -> None:
    document = json.loads(manifest_for().to_bytes())
    with pytest.raises(ModelIntegrityError, match=r"manifest\.json"):
        Manifest.from_bytes(json.dumps({**document, **change}).encode())


def test_a_manifest_of_another_schema_is_incompatible() -> None:
    document = json.loads(manifest_for().to_bytes())
    with pytest.raises(ModelIncompatibleError, match="schema version '3'"):
        Manifest.from_bytes(json.dumps({**document, "schema_version": "3"}).encode())


def test_a_manifest_of_before_keeps_the_decoding_that_it_was_proven_with() -> None:
    document = json.loads(manifest_for(draft_margin=1).to_bytes())
    assert document.pop("draft_margin") == 1
    assert Manifest.from_bytes(json.dumps(document).encode()).draft_margin == 2


@pytest.mark.parametrize("draft_margin", [None, 0, 3, "two", [1]])
def test_a_manifest_with_a_wrong_draft_margin_is_refused(draft_margin: Any) -> None:
    document = json.loads(manifest_for(draft_margin=1).to_bytes())
    with pytest.raises(ModelIntegrityError, match=r"manifest\.json"):
        Manifest.from_bytes(json.dumps({**document, "draft_margin": draft_margin}).encode())


@pytest.mark.parametrize("draft_margin", DRAFT_MARGINS)
def test_a_manifest_decodes_by_its_own_policy(draft_margin: int) -> None:
    data = encoded(Image.effect_noise((100, 80), 90).convert("RGB"), "JPEG")
    manifest = manifest_for(resize=ResizePolicy.PAD, draft_margin=draft_margin)
    expected = decode(data, height=32, width=32, policy=ResizePolicy.PAD, draft_margin=draft_margin)
    assert manifest.decode(data).tensor.tobytes() == expected.tensor.tobytes()
    with pytest.raises(TooManyPixels):
        manifest.decode(data, Limits(max_pixels=7_999))


@given(
    data=st.binary(max_size=60)
    | st.recursive(st.none() | st.text(max_size=5), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_nonsense_raises_only_errors_of_the_tree(data: bytes) -> None:
    for kind in (Manifest, Pointer, GoldenSet):
        with pytest.raises(BucketlensError):
            kind.from_bytes(data)


def test_pointer_and_golden_set_are_read_back() -> None:
    pointer = Pointer(VERSION, "ab" * 32)
    assert Pointer.from_bytes(pointer.to_bytes()) == pointer
    assert set(json.loads(pointer.to_bytes())) == {"version", "manifest_sha256"}
    golden = GoldenSet(0.02, (GoldenPhoto("golden/ä.jpg", (0.25, 0.75)),))
    assert GoldenSet.from_bytes(golden.to_bytes()) == golden
    with pytest.raises(ModelIntegrityError, match="not a version"):
        Pointer.from_bytes(b'{"version": "../x", "manifest_sha256": ""}')


@pytest.mark.parametrize(
    ("text", "bucket", "prefix", "version"),
    [
        ("s3://photos/models/", "photos", "models/", None),
        ("s3://photos/models", "photos", "models/", None),
        ("s3://photos", "photos", "", None),
        (f"s3://photos/a/models/{VERSION}/", "photos", "a/models/", VERSION),
        (f"s3://photos/{VERSION}", "photos", "", VERSION),
    ],
)
def test_model_locations(text: str, bucket: str, prefix: str, version: str | None) -> None:
    uri = ModelUri.parse(text)
    assert uri == ModelUri(bucket, prefix, version)
    assert ModelUri.parse(str(uri)) == uri
    assert uri.key(VERSION, "model.tflite") == f"{prefix}{VERSION}/model.tflite"


@pytest.mark.parametrize(
    ("text", "prefix", "version"),
    [
        ("file:///models/", "models/", None),
        ("file:///a b/models", "a b/models/", None),
        (f"file:///models/{VERSION}/", "models/", VERSION),
    ],
)
def test_a_folder_is_a_location_where_it_may_be(text: str, prefix: str, version: str | None) -> None:
    uri = ModelUri.parse(text, folders=True)
    assert uri == ModelUri("", prefix, version)
    assert ModelUri.parse(str(uri), folders=True) == uri
    with pytest.raises(ConfigError, match="not a model location"):
        ModelUri.parse(text)


@pytest.mark.parametrize(
    "text", ["", "models/", "file://models/", "http://a/b", "s3://", "s3:///models/", "s3://A_B/models/"]
)
def test_other_locations_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="not a model location"):
        ModelUri.parse(text, folders=True)


@given(
    early=st.datetimes(datetime(2020, 1, 1), datetime(2090, 1, 1), timezones=st.timezones()),
    seconds=st.integers(1, 10**9),
    hours=st.integers(-12, 12),
)
def test_versions_sort_by_time_wherever_they_are_made(early: datetime, seconds: int, hours: int) -> None:
    late = (early.astimezone(UTC) + timedelta(seconds=seconds)).astimezone(timezone(timedelta(hours=hours)))
    assert version_id(early, b"a") < version_id(late, b"b")


def test_verify_tells_what_differs() -> None:
    assert verify("x", b"abc", FileEntry.of(b"abc")) == b"abc"
    with pytest.raises(ModelIntegrityError, match=r"x is not what the manifest lists: 2 bytes"):
        verify("x", b"ab", FileEntry.of(b"abc"))


def test_the_fixture_bundle_is_what_its_script_makes() -> None:
    from tests.support.bundles import FIXTURES

    on_disk = {
        str(path.relative_to(FIXTURES / "bundle")): path.read_bytes()
        for path in (FIXTURES / "bundle").rglob("*")
        if path.is_file()
    }
    made = bundle_files()
    assert set(on_disk) == set(made)
    assert on_disk["model.tflite"] == made["model.tflite"]
