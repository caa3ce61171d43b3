"""The bare limit, as a handler: decode and predict in a loop, by the function's own code, and nothing else.

``BUNDLE`` names the model bundle's folder, ``PHOTOS`` a folder of image files. An event ``{"names": [...]}`` is
answered with the CPU seconds of the two stages.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from classifier.bundle import MANIFEST_NAME, MODEL_NAME, Manifest
from classifier.imaging import DecodedImage, decode
from classifier.model import Model

_bundle = Path(os.environ["BUNDLE"])
_manifest = Manifest.from_bytes((_bundle / MANIFEST_NAME).read_bytes())
_model = Model.load((_bundle / MODEL_NAME).read_bytes(), _manifest)
_photos = {path.name: path.read_bytes() for path in Path(os.environ["PHOTOS"]).iterdir()}


def _earlier_decode(data: bytes) -> DecodedImage:
    """As functions decoded before a manifest knew how."""
    spec = _manifest.input
    return decode(data, height=spec.height, width=spec.width, policy=_manifest.resize)


_decode = getattr(_manifest, "decode", _earlier_decode)


def handler(event: dict[str, Any], _: object) -> dict[str, float]:
    """Seconds of ``decode`` and ``predict``."""
    decoding = predicting = 0.0
    for name in event["names"]:
        data = _photos[name]
        started = time.process_time()
        image = _decode(data)
        decoded = time.process_time()
        _model.predict(image.tensor)
        predicting += time.process_time() - decoded
        decoding += decoded - started
    return {"decode": decoding, "predict": predicting}
