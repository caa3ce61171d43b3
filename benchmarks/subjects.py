"""What is compared, and what it needs: photos, networks, bundles, and how each handler is started."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageOps

from benchmarks.harness import BUCKET, ROOT, HandlerFailed, Host, function, function_environment, source_tree
from benchmarks.networks import KERAS, LABELS, ONNX, tflite_name
from benchmarks.simulator import Simulator
from classifier.bundle import MANIFEST_NAME, POINTER_NAME, Pointer

SIZES = {"640x480": (640, 480), "1920x1440": (1920, 1440), "4000x3000": (4000, 3000)}
MIX = "mix"
"""The three sizes in turn."""
FUNCTION, BASELINE, LIMIT, BASELINE_LIMIT = "bucketlens", "baseline", "limit", "baseline limit"
PLAIN, KERAS_PREDICT, ONNX_RUNTIME = "plain", "keras", "onnx"
IMAGE, JSONL = "image", "jsonl"

_CACHE = ROOT / ".bucketlens" / "bench"
_HOSTED = ROOT / "benchmarks" / "hosted"
ONNX_PACKAGES = ROOT / ".venv-bench"
_PHOTOS = 5
_QUALITY = 90


@dataclass(frozen=True)
class Subject:
    """A handler, and for the function its output mode."""

    name: str
    mode: str = ""

    @property
    def is_limit(self) -> bool:
        return self.name in (LIMIT, BASELINE_LIMIT)


class Material:
    """Everything that the handlers are given. Networks and photos are kept below ``.bucketlens/bench``.

    Args:
        data: the folder of real photos and models; None makes photos and builds a model.
        bundles: the model bundle's folder by FUNCTION and BASELINE, each made by the code of its own tree.
    """

    def __init__(self, data: Path | None, trees: Mapping[str, Path], bundles: Mapping[str, Path], core: int) -> None:
        self.data = data
        self.photos = make_photos(data)
        self._trees = trees
        self._bundles = bundles
        self._core = core

    @cached_property
    def _networks(self) -> Path:
        return make_networks(self.data)

    def functions(self) -> list[Subject]:
        """The function of each tree, in each mode."""
        return [Subject(name, mode) for name in self._trees for mode in (IMAGE, JSONL)]

    def limits(self) -> list[Subject]:
        return [Subject(LIMIT if name == FUNCTION else BASELINE_LIMIT) for name in self._trees]

    def plain(self) -> list[Subject]:
        """The handlers that others would write, as far as there is what they need."""
        found = [Subject(PLAIN), Subject(KERAS_PREDICT)]
        return found + ([Subject(ONNX_RUNTIME)] if (self._networks / ONNX).exists() else [])

    def upload(self, simulator: Simulator, images: Mapping[str, int]) -> None:
        """Put so many images of each size into the bucket, and publish the bundles."""
        for size, count in images.items():
            for number, name in enumerate(photo_names(size, count)):
                simulator.put(BUCKET, key(size, number), (self.photos / name).read_bytes())
        for tree, bundle in self._bundles.items():
            for path in bundle.rglob("*"):
                if path.is_file():
                    simulator.put(BUCKET, f"{_models(tree)}{bundle.name}/{path.relative_to(bundle)}", path.read_bytes())
            pointer = Pointer(bundle.name, hashlib.sha256((bundle / MANIFEST_NAME).read_bytes()).hexdigest())
            simulator.put(BUCKET, f"{_models(tree)}{POINTER_NAME}", pointer.to_bytes())

    def start(self, subject: Subject, simulator: Simulator, *, stages: bool = False, profile: bool = False) -> Host:
        """Start a handler; ``stages`` starts the function with its stages told apart."""
        tree = FUNCTION if subject.name in (FUNCTION, LIMIT) else BASELINE
        environment = function_environment(
            simulator.url,
            f"s3://{BUCKET}/{_models(tree)}",
            OUTPUT_MODE=subject.mode or IMAGE,
            PROFILE="1" if profile else "",
        )
        if subject.is_limit:
            own = {"BUNDLE": str(self._bundles[tree]), "PHOTOS": str(self.photos)}
            return Host("limit", own, [_HOSTED, self._trees[tree] / "functions"], self._core)
        if subject.name in (FUNCTION, BASELINE):
            if stages:
                return Host("stages", environment, [_HOSTED, self._trees[tree] / "functions"], self._core)
            return function(self._trees[tree], environment, self._core)
        engine = "tflite" if subject.name == PLAIN else subject.name
        file = {PLAIN: tflite_name("float32"), KERAS_PREDICT: KERAS, ONNX_RUNTIME: ONNX}[subject.name]
        environment |= {"ENGINE": engine, "MODEL": str(self._networks / file), "TF_CPP_MIN_LOG_LEVEL": "3"}
        return Host("plain", environment, [_HOSTED, ONNX_PACKAGES], self._core)


@contextmanager
def material(baseline: str | None, core: int) -> Iterator[Material]:
    """All that is needed to measure this checkout, and the commit ``baseline`` if one is named.

    Raises:
        HandlerFailed: git knows no such commit, or its code cannot import the model.
    """
    given = os.environ.get("BUCKETLENS_DATA")
    data = Path(given) if given else None
    with ExitStack() as stack:
        trees = {FUNCTION: ROOT}
        if baseline is not None:
            trees[BASELINE] = stack.enter_context(source_tree(baseline))
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="bucketlens-bench-")))
        bundles = {name: make_bundle(tree, data, folder / name) for name, tree in trees.items()}
        yield Material(data, trees, bundles, core)


def key(size: str, number: int) -> str:
    return f"incoming/{size}/{number:05}.jpg"


def photo_names(size: str, images: int) -> list[str]:
    """The photos' files that make ``images`` images of a size."""
    sizes = list(SIZES) if size == MIX else [size]
    return [f"{sizes[number % len(sizes)]}-{number % _PHOTOS}.jpg" for number in range(images)]


def make_photos(data: Path | None) -> Path:
    """A folder with five photos in each size: those of ``data`` rescaled, or made of noise at every scale."""
    folder = _CACHE / ("photos" if data else "made-photos")
    folder.mkdir(parents=True, exist_ok=True)
    for size, (width, height) in SIZES.items():
        for number in range(_PHOTOS):
            path = folder / f"{size}-{number}.jpg"
            if not path.exists():
                buffer = io.BytesIO()
                _photo(data, number, width, height).save(buffer, "JPEG", quality=_QUALITY)
                path.write_bytes(buffer.getvalue())
    return folder


def _photo(data: Path | None, number: int, width: int, height: int) -> Image.Image:
    if data is not None:
        with Image.open(sorted((data / "photos").iterdir())[number]) as image:
            return ImageOps.fit(image.convert("RGB"), (width, height), Image.Resampling.LANCZOS)
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 40, width // 40, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    noisy = smooth + rng.integers(-6, 7, smooth.shape, dtype=np.int16)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def make_networks(data: Path | None) -> Path:
    """A folder with the network in every form; built once."""
    folder = _CACHE / ("networks" if data else "made-networks")
    wanted = [KERAS, tflite_name("float32"), tflite_name("int8"), *([ONNX] if ONNX_PACKAGES.exists() else [])]
    if not all((folder / name).exists() for name in wanted):
        folder.mkdir(parents=True, exist_ok=True)
        weights = [str(data / "models" / "mobilenet_v2_1.0_224_no_top.weights.h5")] if data else []
        _run(["-m", "benchmarks.networks", str(folder), *weights], [ROOT, ROOT / "functions", ONNX_PACKAGES])
    return folder


def make_bundle(tree: Path, data: Path | None, folder: Path) -> Path:
    """Import the uint8 model with the code of ``tree``; the bundle, below ``folder`` and named for its version."""
    folder.mkdir()
    bundle = folder / "bundle"
    if data is not None:
        model, labels = data / "models" / "mobilenet_v2_1.0_224_quant.tflite", data / "models" / "imagenet_labels.txt"
    else:
        model, labels = make_networks(None) / tflite_name("int8"), folder / "labels.txt"
        labels.write_text("".join(f"label {number}\n" for number in range(LABELS)), encoding="utf-8")
    arguments = ["model", "import", "--tflite", str(model), "--labels", str(labels), "--out", str(bundle)]
    arguments += [] if data else ["--output", "logits"]
    version = _run(
        ["-c", "from bucketlens.cli.main import main; main()", *arguments], [tree / "functions", tree]
    ).split()
    return bundle.rename(folder / version[-1])


def _models(tree: str) -> str:
    return f"models/{tree}/"


def _run(arguments: Sequence[str], path: Sequence[Path]) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-P", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HandlerFailed(f"{' '.join(arguments)} failed:\n{done.stderr}")
    return done.stdout
