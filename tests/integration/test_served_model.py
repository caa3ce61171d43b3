"""Which model serves: the published one, verified, until another is promoted."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import Any

import pytest

from classifier.bundle import NOVELTY_NAME, ModelUri, NoveltySpec
from classifier.errors import (
    ModelIncompatibleError,
    ModelIntegrityError,
)
from classifier.loader import BundleLoader
from tests.conftest import BUCKET, Aws
from tests.integration.test_handler import served, start
from tests.support.bundles import CREATED, bundle_files, publish
from tests.support.clients import Interposed, refusal
from tests.support.images import png

pytestmark = pytest.mark.slow
__all__ = ["start"]


def test_a_tampered_model_or_manifest_is_never_loaded(aws: Aws) -> None:
    version = publish(aws.s3, BUCKET, bundle_files())
    for name in ("model.tflite", "manifest.json"):
        key = f"models/{version}/{name}"
        good = aws.read(key)
        aws.put(key, good[:-3] + b" \n}" if name == "manifest.json" else good[:-1] + b"\xff")
        loader = BundleLoader(ModelUri.parse(f"s3://{BUCKET}/models/"), aws.function_s3)
        with pytest.raises(ModelIntegrityError, match=r"what the manifest lists|manifest that was published"):
            loader.load()
        aws.put(key, good)


def test_what_a_bundle_knows_is_loaded_with_it_and_verified(aws: Aws) -> None:
    files = bundle_files("float32_embedding", novelty=NoveltySpec(0.95))
    version = publish(aws.s3, BUCKET, files)
    model = served(aws, time.monotonic)
    assert model.classify(png("red"), 1, 60).novelty == pytest.approx(0.3)
    assert model.classify(png("blue"), 1, 60).novelty == 1
    key = f"models/{version}/{NOVELTY_NAME}"
    aws.put(key, aws.read(key)[:-1] + b"\x7f")
    with pytest.raises(ModelIntegrityError, match=f"{NOVELTY_NAME} is not what the manifest lists"):
        served(aws, time.monotonic)


def test_a_pinned_version_with_another_model_in_it_is_never_loaded(aws: Aws) -> None:
    version = publish(aws.s3, BUCKET, bundle_files())
    for name, data in bundle_files("float32_softmax", version=version).items():
        aws.put(f"models/{version}/{name}", data)
    with pytest.raises(ModelIntegrityError, match=f"not the one that was published as {version}"):
        served(aws, time.monotonic, uri=f"s3://{BUCKET}/models/{version}/")


def test_a_promoted_model_is_noticed_within_a_minute_between_batches(aws: Aws) -> None:
    now = [0.0]
    first = publish(aws.s3, BUCKET, bundle_files())
    model = served(aws, lambda: now[0])
    second = publish(aws.s3, BUCKET, bundle_files("float32_softmax", CREATED + timedelta(hours=1)))
    assert model.refresh() is None
    assert model.manifest.version == first
    now[0] = 61
    refreshed = model.refresh()
    assert refreshed is not None
    assert refreshed.version == model.manifest.version == second
    now[0] = 130
    assert model.refresh() is None, "the pointer has not moved since"


def test_a_pinned_model_follows_nothing(aws: Aws) -> None:
    now = [0.0]
    first = publish(aws.s3, BUCKET, bundle_files())
    model = served(aws, lambda: now[0], uri=f"s3://{BUCKET}/models/{first}/")
    publish(aws.s3, BUCKET, bundle_files("float32_softmax", CREATED + timedelta(hours=1)))
    now[0] = 1000
    assert model.refresh() is None
    assert model.manifest.version == first


def test_while_s3_is_silent_the_loaded_model_goes_on_serving(aws: Aws) -> None:
    now, silent = [0.0], [False]

    def before(_: dict[str, Any]) -> None:
        if silent[0]:
            raise refusal("InternalError", 500)

    first = publish(aws.s3, BUCKET, bundle_files())
    model = served(aws, lambda: now[0], Interposed(aws.function_s3, "get_object", before))
    silent[0], now[0] = True, 61
    refreshed = model.refresh()
    assert refreshed is not None
    assert refreshed.version == first
    assert refreshed.kept_because is not None
    assert "current.json" in refreshed.kept_because


def test_a_promoted_model_that_is_damaged_fails_the_batch(aws: Aws) -> None:
    now = [0.0]
    publish(aws.s3, BUCKET, bundle_files())
    model = served(aws, lambda: now[0])
    second = publish(aws.s3, BUCKET, bundle_files("float32_softmax", CREATED + timedelta(hours=1)))
    aws.put(f"models/{second}/model.tflite", b"tampered")
    now[0] = 61
    for _ in range(2):
        with pytest.raises(ModelIntegrityError):
            model.refresh()


def test_a_golden_photo_that_comes_out_differently_stops_the_cold_start(aws: Aws) -> None:
    files = bundle_files()
    golden = json.loads(files["golden/golden.json"])
    golden["photos"][0]["probabilities"] = [0.1, 0.2, 0.7]
    from classifier.bundle import FileEntry, Manifest

    changed = json.dumps(golden).encode()
    manifest = Manifest.from_bytes(files["manifest.json"])
    manifest.files["golden/golden.json"] = FileEntry.of(changed)
    publish(aws.s3, BUCKET, {**files, "golden/golden.json": changed, "manifest.json": manifest.to_bytes()})
    with pytest.raises(ModelIncompatibleError, match=r"golden/red\.png differs"):
        served(aws, time.monotonic)
