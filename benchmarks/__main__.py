"""``make bench``: every claim of speed this project makes, measured here and now.

The two sides of a comparison take turns, so that a machine that slows down slows both; the figure is the median of the
ratios of neighbours. Times are CPU times of this process and its children.
"""

from __future__ import annotations

import io
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.packages import Package, container_image, measured, zip_package
from classifier.imaging import decode

ROOT = Path(__file__).parent.parent
SIZE = 224


@dataclass(frozen=True)
class Comparison:
    """``run`` against ``baseline``; each call is one measurement."""

    claim: str
    baseline_name: str
    baseline: Callable[[], object]
    run: Callable[[], object]
    rounds: int


def cpu_seconds() -> float:
    """User and system time of this process and of its ended children."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def measure(comparison: Comparison) -> tuple[float, float, float]:
    """Median seconds of the baseline, of the run, and the median ratio run / baseline."""
    comparison.baseline()
    comparison.run()
    pairs = []
    for _ in track(range(comparison.rounds), comparison.claim, console=Console(stderr=True), transient=True):
        pairs.append((timed(comparison.baseline), timed(comparison.run)))
    return median(a for a, _ in pairs), median(b for _, b in pairs), median(b / a for a, b in pairs)


def timed(work: Callable[[], object]) -> float:
    started = cpu_seconds()
    work()
    return cpu_seconds() - started


def photo(width: int, height: int) -> bytes:
    """A JPEG with structure at every scale, as photos have."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (height // 40, width // 40, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    noisy = np.asarray(image).astype(np.int16) + rng.integers(-6, 7, (height, width, 3), dtype=np.int16)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def full_decode(data: bytes) -> object:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def decoding(width: int, height: int) -> Comparison:
    data = photo(width, height)
    return Comparison(
        f"decode a {width} x {height} JPEG to {SIZE} x {SIZE}",
        "Pillow, full decode",
        lambda: full_decode(data),
        lambda: decode(data, height=SIZE, width=SIZE),
        rounds=15,
    )


@contextmanager
def cold_start() -> Iterator[Comparison]:
    """Import of the handler from a read-only package with and without the bytecode that the build ships."""
    with tempfile.TemporaryDirectory() as folder:
        packages = {}
        for kind, compiled in (("source", False), ("compiled", True)):
            target = Path(folder) / kind
            shutil.copytree(ROOT / "functions" / "classifier", target / "classifier")
            for name in ("numpy", "PIL", "ai_edge_litert", "aws_lambda_powertools", "jmespath"):
                origin = Path(sys.modules["numpy"].__file__ or "").parent.parent / name
                shutil.copytree(origin, target / name, ignore=shutil.ignore_patterns("__pycache__", "tests", "aot"))
            for libraries in (Path(sys.modules["numpy"].__file__ or "").parent.parent).glob("*.libs"):
                shutil.copytree(libraries, target / libraries.name)
            if compiled:
                subprocess.run(
                    [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(target)],
                    check=True,
                )
            packages[kind] = target

        def start(kind: str) -> Callable[[], object]:
            # -B: Lambda's code folder is read-only, nothing compiled there is kept.
            return lambda: subprocess.run(
                [sys.executable, "-B", "-c", "import classifier.app"],
                env={"PATH": os.defpath, "PYTHONPATH": str(packages[kind]), "AWS_DEFAULT_REGION": "us-east-1"},
                stdout=subprocess.DEVNULL,
                check=True,
            )

        yield Comparison(
            "cold start: import the handler",
            "package without bytecode",
            start("source"),
            start("compiled"),
            7,
        )


def main() -> None:
    """Measure and print."""
    table = Table("what", "baseline", "baseline ms", "ours ms", "ours / baseline")
    with cold_start() as imports:
        for comparison in (decoding(4000, 3000), decoding(1920, 1440), decoding(640, 480), imports):
            baseline, run, ratio = measure(comparison)
            table.add_row(
                comparison.claim,
                comparison.baseline_name,
                f"{baseline * 1000:.1f}",
                f"{run * 1000:.1f}",
                f"{ratio:.2f}",
            )
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table)
    with zip_package() as package:
        found = (package, container_image())
        for reason in found:
            if isinstance(reason, str):
                Console(stderr=True).print(reason, markup=False, highlight=False)
        sizes = Table("package", "MB", "cold start, CPU ms")
        for name, megabytes, milliseconds in measured([one for one in found if isinstance(one, Package)]):
            sizes.add_row(name, f"{megabytes:.0f}", f"{milliseconds:.0f}")
        console.print(sizes)


if __name__ == "__main__":
    main()
