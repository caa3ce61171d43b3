"""``make bench``: the function on one processor core, against its own commits and what others would write.

    python -m benchmarks [--quick | --growth | --profile MODE] [--baseline REF]

Without a mode everything but the growth is measured; the figures go to ``benchmarks/results.json``, the README's table
and ``.bucketlens/bench/index.html``. ``--growth`` adds its own to the same file. ``--quick`` and ``--profile`` print.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import measuring
from benchmarks.harness import ROOT, HandlerFailed
from benchmarks.packages import Package, container_image, measured, zip_packages
from benchmarks.report import into_readme, render, targets
from benchmarks.simulator import MEDIANS_MS, SIGMA, Simulator, simulator
from benchmarks.subjects import (
    BASELINE,
    IMAGE,
    JSONL,
    MIX,
    PLAIN,
    SIZES,
    Material,
    Subject,
    material,
    photo_names,
)

RESULTS = ROOT / "benchmarks" / "results.json"
README = ROOT / "README.md"
PAGE = ROOT / ".bucketlens" / "bench" / "index.html"
SMALLEST, *_, LARGEST = SIZES
_IMAGES = 100
_LIBRARIES = ("ai-edge-litert", "pillow", "numpy", "boto3", "tensorflow")


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--quick", action="store_true", help="the smallest photos only, against the plain handler")
    mode.add_argument("--growth", action="store_true", help="batches of 10 to 10,000 images, 10,000 invocations")
    mode.add_argument("--profile", choices=(IMAGE, JSONL), help="CPU by stage and function, in that output mode")
    parser.add_argument("--baseline", metavar="REF", help="a commit whose function takes turns with this checkout's")
    parser.add_argument("--rounds", type=int, help="how often every case is measured")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    # The handlers have a core to themselves, if there are two.
    os.sched_setaffinity(0, {cores[-1]})
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    try:
        with (
            progress() as tell,
            material(options.baseline, cores[0]) as given,
            simulator(core=cores[-1]) as storage,
        ):
            if options.growth:
                _growth(given, storage, tell)
                return
            quick = options.quick or options.profile
            sizes = [SMALLEST] if quick else [*SIZES, MIX]
            given.upload(storage, dict.fromkeys(sizes, _IMAGES))
            if options.profile:
                functions = [subject for subject in given.functions() if subject.mode == options.profile]
                rows = measuring.stages(given, storage, functions, SMALLEST, options.rounds or 3, tell)
                text = measuring.profile(given, storage, SMALLEST, options.profile)
                _show_stages(console, rows)
                console.print(text, markup=False)
                return
            document = _everything(
                given, storage, sizes, options.rounds or (3 if quick else 5), options.baseline, quick, tell
            )
    except HandlerFailed as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    _show(console, document)
    if not options.quick:
        _write(document)
        console.print(f"{RESULTS.relative_to(ROOT)}, {README.name}, {PAGE.relative_to(ROOT)}")


def _everything(
    given: Material,
    storage: Simulator,
    sizes: Sequence[str],
    rounds: int,
    baseline: str | None,
    quick: bool,
    tell: measuring.Tell,
) -> dict[str, Any]:
    functions, plain = given.functions(), [Subject(PLAIN)] if quick else given.plain()
    subjects = [*functions, *given.limits(), *plain]
    starting = [subject for subject in subjects if subject.mode != JSONL and not subject.is_limit]
    document: dict[str, Any] = {
        "schema_version": 1,
        **_origin(),
        "baseline": f"{baseline} ({_git('rev-parse', '--short', baseline)})" if baseline else None,
        "machine": _machine(),
        "model": "MobileNetV2 1.0, 224 x 224, uint8" + ("" if given.data else ", random weights"),
        "photos": {size: _mean_bytes(given, size) for size in sizes},
        "storage": ", ".join(f"{name} {ms:g} ms" for name, ms in MEDIANS_MS.items()) + f", lognormal, sigma {SIGMA}",
        "rounds": rounds,
        "cases": [],
        "stages": [],
    }
    for size in sizes:
        wanted = measuring.cases(subjects, [size], [_IMAGES] if quick else [1, 20, _IMAGES])
        document["cases"] += measuring.measure(given, storage, wanted, rounds, tell)
    for size in sizes:
        if size != MIX:
            document["stages"] += measuring.stages(given, storage, functions, size, min(rounds, 3), tell)
    document["cold_starts"] = measuring.cold_starts(given, storage, starting, rounds, tell)
    compared = [subject for subject in starting if subject.name != BASELINE]
    extremes = [size for size in (SMALLEST, LARGEST) if size in sizes and not quick]
    document["peak_memory"] = measuring.peak_memory(given, storage, compared, extremes, tell)
    document["packages"] = [] if quick else _packages(tell)
    if not quick and RESULTS.exists():
        document["growth"] = json.loads(RESULTS.read_text(encoding="utf-8")).get("growth")
    return document


def _growth(given: Material, storage: Simulator, tell: measuring.Tell) -> None:
    counts, invocations = (10, 100, 1_000, 10_000), 10_000
    given.upload(storage, {SMALLEST: counts[-1]})
    with simulator(scale=0.0) as at_once:
        given.upload(at_once, {SMALLEST: 1_000})
        found = measuring.growth(given, storage, at_once, counts, invocations, tell)
    document = json.loads(RESULTS.read_text(encoding="utf-8"))
    document["growth"] = {**_origin(), **found}
    _write(document)


def _packages(tell: measuring.Tell) -> list[dict[str, Any]]:
    tell("packages")
    with zip_packages() as zipped:
        found: list[Package] = []
        for one in (zipped, container_image()):
            if isinstance(one, str):
                tell(one)
            else:
                found += one if isinstance(one, list) else [one]
        return [
            {"name": name, "mb": round(megabytes), "cpu_ms": round(milliseconds)}
            for name, megabytes, milliseconds in measured(found)
        ]


def _write(document: dict[str, Any]) -> None:
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    README.write_text(into_readme(README.read_text(encoding="utf-8"), document), encoding="utf-8")
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(render(document), encoding="utf-8")


def _show(console: Console, document: dict[str, Any]) -> None:
    table = Table("case", "batch", "images/s", "CPU ms an image", "event p50 ms", "p99 ms")
    for case in document["cases"]:
        event, rates, cpu = (case[name] for name in ("invocation_ms", "images_per_second", "cpu_ms"))
        rate, ms = (f"{sorted(values)[len(values) // 2]:.1f}" for values in (rates, cpu))
        name = f"{case['size']} {case['subject']} {case['mode'] or ''}"
        table.add_row(name, str(case["images"]), rate, ms, f"{event['p50']:,.0f}", f"{event['p99']:,.0f}")
    console.print(table)
    _show_stages(console, document["stages"])
    ratios = Table("ratio, medians of rounds", "")
    for what, ratio in targets(document):
        ratios.add_row(what, ratio)
    console.print(ratios)
    starts = Table("cold start", "CPU ms", "ms")
    for start in document["cold_starts"]:
        starts.add_row(start["subject"], f"{start['cpu_ms']:,.0f}", f"{start['wall_ms']:,.0f}")
    console.print(starts)


def _show_stages(console: Console, rows: Sequence[dict[str, Any]]) -> None:
    names = list(rows[0]["stages_ms"])
    table = Table("CPU ms an image", *names, "sum")
    for row in rows:
        ms = row["stages_ms"]
        figures = (f"{value:.2f}" for value in (*(ms[name] for name in names), sum(ms.values())))
        table.add_row(f"{row['size']} {row['subject']} {row['mode']}", *figures)
    console.print(table)


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Says on the terminal what is being done; where there is none, a line for each."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda what: console.print(what, markup=False)
        return
    with console.status("") as status:
        yield status.update


def _origin() -> dict[str, str]:
    changed = "+" if _git("status", "--porcelain", "--", "functions") else ""
    return {
        "commit": (_git("rev-parse", "--short", "HEAD") or "unknown") + changed,
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _git(*arguments: str) -> str:
    """What git answers; nothing where this is no checkout."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def _machine() -> dict[str, str]:
    names = [s for s in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if s.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    libraries = []
    for library in _LIBRARIES:
        try:
            libraries.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            libraries.append(f"no {library}")
    return {
        "processor": names[0].partition(": ")[2] if names else platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GB",
        "Python": platform.python_version(),
        "libraries": ", ".join(libraries),
    }


def _mean_bytes(given: Material, size: str) -> int:
    sizes = [(given.photos / name).stat().st_size for name in photo_names(size, _IMAGES)]
    return sum(sizes) // len(sizes)


if __name__ == "__main__":
    main()
