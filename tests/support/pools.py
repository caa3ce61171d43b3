"""Worker processes around the fixture models."""

from __future__ import annotations

from typing import Any

from classifier.bundle import Manifest
from classifier.imaging import Limits
from classifier.loader import Bundle
from classifier.pool import WorkerPool
from tests.support.bundles import manifest_for, model_bytes

SHARE = 600 * 2**20


def start_pool(manifest: Manifest | None = None, content: bytes | None = None, **changes: Any) -> WorkerPool:
    """One worker with the quantized model, and room for nearly every picture."""
    options: dict[str, Any] = {
        "workers": 1,
        "limits": Limits(),
        "plan_memory": lambda model, worker: SHARE,
        **changes,
    }
    return WorkerPool(
        manifest or manifest_for(), model_bytes("uint8_quantized") if content is None else content, **options
    )


def start_bundle(bundle: Bundle) -> WorkerPool:
    """As :func:`start_pool`, of a bundle that was loaded."""
    return start_pool(bundle.manifest, bundle.model, novelty=bundle.novelty)
