"""The model that a simulated process serves: loaded over the simulated network, classifying in virtual time."""

from __future__ import annotations

import hashlib

from classifier.bundle import MODEL_NAME, FileEntry, InputSpec, Manifest, OutputSpec, Pointer
from classifier.imaging import ResizePolicy
from tests.soak.schedule import MODEL_PREFIX
from tests.soak.world import World


def publish(world: World, stamp: str) -> str:
    """Put a model version into the bucket and point to it; its version."""
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
    return version
