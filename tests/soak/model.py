"""The model: published into the simulated bucket, loaded by the product's loader, classifying in virtual time."""

from __future__ import annotations

import hashlib
from typing import Any

from classifier.bundle import MODEL_NAME, FileEntry, InputSpec, Manifest, ModelUri, OutputSpec, Pointer
from classifier.errors import CorruptImage, EmptyImage, ImageTooCostly, ModelUnavailable, OutOfTime
from classifier.imaging import ResizePolicy
from classifier.loader import CHECK_INTERVAL_SECONDS, BundleLoader
from classifier.model import Classified, Prediction
from classifier.serving import Refresh
from tests.soak.schedule import BUCKET, HARMFUL, MODEL_PREFIX
from tests.soak.scheduler import Process, Slots
from tests.soak.world import World

# Of one image: more than this, and it is too costly.
IMAGE_SECONDS = 10.0


def publish(world: World, stamp: str) -> None:
    """Put a model version into the bucket and point to it."""
    content = f"model {stamp}".encode()
    entry = FileEntry.of(content)
    version = f"{stamp}-{entry.sha256[:8]}"
    manifest = Manifest(
        name="simulated",
        version=version,
        created_at="2026-11-20T10:15:00Z",
        files={MODEL_NAME: entry},
        labels=("one", "two"),
        input=InputSpec(8, 8, "uint8"),
        resize=ResizePolicy.STRETCH,
        scaling=None,
        output=OutputSpec("softmax", "float32"),
        review_threshold=0.5,
    ).to_bytes()
    world.published.add(version)
    world.bucket.put(f"{MODEL_PREFIX}{version}/{MODEL_NAME}", content)
    world.bucket.put(f"{MODEL_PREFIX}{version}/manifest.json", manifest)
    pointer = Pointer(version, hashlib.sha256(manifest).hexdigest()).to_bytes()
    world.bucket.put(f"{MODEL_PREFIX}current.json", pointer)
    world.say(f"model {version} is promoted")


class SimulatedModel:
    """Stands for ``classifier.serving.ServedModel``: what an image costs and comes to is in the schedule."""

    def __init__(self, world: World, process: Process, s3: Any) -> None:
        self._world = world
        self._process = process
        self._slots = Slots(world.scheduler, world.profile.workers)
        self._loader = BundleLoader(ModelUri.parse(f"s3://{BUCKET}/{MODEL_PREFIX}"), s3)
        self._checked_at = world.scheduler.now
        self.manifest = self._loader.load().manifest

    def refresh(self) -> Refresh | None:
        now = self._world.scheduler.now
        if now - self._checked_at < CHECK_INTERVAL_SECONDS:
            return None
        self._checked_at = now
        try:
            if not self._loader.changed():
                return None
            self.manifest = self._loader.load().manifest
        except ModelUnavailable as error:
            return Refresh(self.manifest.version, kept_because=str(error))
        return Refresh(self.manifest.version)

    def classify(self, data: bytes, top_k: int, time_left: float) -> Classified:
        """One image on one of the workers, or what becomes of it instead."""
        world = self._world
        self._process.step()
        image = world.images.get(data)
        if image is None:
            world.violate(f"classified what was never put: {data[:40]!r}")
            raise CorruptImage("not an image")
        world.classifications += 1
        ends_at = world.scheduler.now + time_left
        if not self._slots.acquire(time_left):
            raise OutOfTime("no worker was free in time")
        try:
            self._work(IMAGE_SECONDS if image.kind == "costly" else image.seconds, ends_at)
        finally:
            self._slots.release()
        world.say(f"{self._process.name} classified {image.kind} {image.label}")
        match "good" if world.repaired and image.kind in HARMFUL else image.kind:
            case "poison":
                self._process.kill()
                self._process.step()
            case "empty":
                raise EmptyImage("the file has no bytes")
            case "corrupt":
                raise CorruptImage("the file is damaged")
            case "costly":
                raise ImageTooCostly(f"took over {IMAGE_SECONDS:g} s")
            case "bug":
                raise ValueError("nobody expects this")
        return Classified("JPEG", 8, 8, (Prediction(image.label, 0.9),), {})

    def _work(self, seconds: float, ends_at: float) -> None:
        scheduler = self._world.scheduler
        left = ends_at - scheduler.now
        scheduler.sleep(max(0.0, min(seconds, left)))
        self._process.step()
        if seconds > left:
            raise OutOfTime("the invocation ends before the image is done")
