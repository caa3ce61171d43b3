"""Workers: whatever the bytes and whatever dies, an image ends as a result or a rejection, and the next is served."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from classifier.errors import (
    ConfigError,
    CorruptImage,
    ImageRejected,
    ImageTooCostly,
    ModelIncompatibleError,
    ModelUnavailable,
    OutOfTime,
    TooManyPixels,
)
from classifier.imaging import SUPPORTED_FORMATS, Limits, decode, sniff
from classifier.model import Classified, Model, top_k
from classifier.pool import WorkerPool, shared_byte
from classifier.seed import Seed
from tests.conftest import ROOT
from tests.support.bombs import BOMBS
from tests.support.bombs import png as black_png
from tests.support.bundles import known_colours, manifest_for, model_bytes, novel_manifest
from tests.support.images import COLOURS, encoded, picture, png
from tests.support.misbehaving_model import start_seed
from tests.support.pools import start_pool
from tests.support.processes import children

pytestmark = pytest.mark.slow

MEGABYTE = 2**20
LIMITS = Limits(max_pixels=4_000_000)


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    pool = start_pool(limits=LIMITS, plan_memory=lambda model, worker: 200 * MEGABYTE, cpu_seconds=2.0)
    yield pool
    pool.close()


def assert_alive(pool: WorkerPool) -> None:
    assert pool.classify(png("green"), 1, 60).top[0].label == "green"


def wait_until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends
        threading.Event().wait(0.01)


@pytest.mark.parametrize(
    "name",
    ["float32_softmax", "float32_logits", "uint8_quantized", "int8_quantized", "int8_sigmoid", "int8_multi_label"],
)
@pytest.mark.parametrize("colour", COLOURS)
def test_a_worker_says_what_the_same_code_says_in_process(name: str, colour: str) -> None:
    manifest = manifest_for(name)
    here = Model.load(model_bytes(name), manifest).predict(decode(png(colour), height=32, width=32).tensor)
    pool = start_pool(manifest, model_bytes(name))
    classified = pool.classify(png(colour), 2, 60)
    assert isinstance(classified, Classified)
    assert (classified.format, classified.width, classified.height) == ("PNG", 64, 48)
    assert list(classified.top) == top_k(here, manifest.labels, 2)
    assert set(classified.timing_ms) == {"decode", "predict"}
    assert np.array_equal(pool.answer(png(colour)).probabilities, here)
    pool.close()


@pytest.mark.parametrize("name", ["float32_embedding", "int8_embedding"])
def test_a_worker_tells_novelty_as_the_same_code_does_in_process(name: str) -> None:
    manifest, known = novel_manifest(name), known_colours().to_bytes()
    here = Model.load(model_bytes(name), manifest, known)
    pool = start_pool(manifest, model_bytes(name), novelty=known)
    for colour in COLOURS:
        tensor = decode(png(colour), height=32, width=32).tensor
        assert pool.classify(png(colour), 2, 60).novelty == here.answer(tensor).novelty
    assert pool.answer(png("blue")).novelty == 1
    pool.close()


@pytest.mark.parametrize("k", [1, 3])
def test_labels_that_apply_are_named_however_many_are_asked_for(k: int) -> None:
    manifest = manifest_for("int8_multi_label")
    several = replace(manifest, output=replace(manifest.output, thresholds=(0.9, 0.01, 0.01)))
    pool = start_pool(several, model_bytes("int8_multi_label"))
    classified = pool.classify(png("green"), k, 60)
    assert len(classified.top) == k
    assert classified.labels == ("green", "blue")
    pool.close()


def test_other_models_have_no_labels_that_apply(pool: WorkerPool) -> None:
    assert pool.classify(png("green"), 1, 60).labels is None


def test_rejections_keep_their_code_and_message(pool: WorkerPool) -> None:
    with pytest.raises(TooManyPixels, match="3000 x 2000 is 6,000,000 pixels, over the limit of 4,000,000"):
        pool.classify(black_png(3000, 2000), 1, 60)
    with pytest.raises(CorruptImage, match="PNG cannot be decoded"):
        pool.classify(png()[:200], 1, 60)
    assert_alive(pool)


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_at_once_and_by_name(name: str) -> None:
    make, code = BOMBS[name]
    data = make()
    started = time.process_time()
    with pytest.raises(ImageRejected) as raised:
        decode(data, height=224, width=224)
    assert raised.value.code == code
    assert time.process_time() - started < 0.5
    assert "\n" not in str(raised.value)


@settings(max_examples=150)
@given(
    image_format=st.sampled_from(SUPPORTED_FORMATS),
    edits=st.lists(st.tuples(st.floats(0, 0.999), st.binary(min_size=1, max_size=6)), max_size=8),
    tail=st.binary(max_size=64),
)
def test_whatever_the_bytes_are(
    pool: WorkerPool, image_format: str, edits: list[tuple[float, bytes]], tail: bytes
) -> None:
    data = bytearray(encoded(picture("red", (40, 30)), image_format))
    for where, value in edits:
        start = int(where * len(data))
        data[start : start + len(value)] = value
    with contextlib.suppress(ImageRejected):
        assert len(pool.classify(bytes(data) + tail, 5, 60).top) == 3
    assert_alive(pool)


def test_real_awkward_and_broken_files_mutated(pool: WorkerPool, real_data: Path) -> None:
    rng = np.random.default_rng(0)
    done = 0
    for path in sorted((*(real_data / "awkward").rglob("*"), *(real_data / "broken").rglob("*"))):
        if not path.is_file() or sniff(path.read_bytes()[:100]) is None:
            continue
        data = np.frombuffer(path.read_bytes(), np.uint8).copy()
        where = rng.integers(0, min(len(data), 400), 4)
        data[where] = rng.integers(0, 256, 4)
        with contextlib.suppress(ImageRejected):
            pool.classify(data.tobytes(), 5, 60)
        done += 1
    assert done > 100
    assert_alive(pool)


def test_processor_time_is_bounded_and_the_message_says_so(pool: WorkerPool) -> None:
    strict = start_pool(cpu_seconds=0.05, plan_memory=lambda model, worker: 400 * MEGABYTE)
    with pytest.raises(ImageTooCostly, match=r"the PNG file took over 0\.05 s of processor time"):
        strict.classify(encoded(Image.effect_noise((5000, 5000), 90), "PNG", compress_level=1), 1, 60)
    assert_alive(strict)
    strict.close()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(lambda: black_png(8000, 8000, colour_type=6), id="PNG"),
        pytest.param(lambda: encoded(Image.new("RGB", (8000, 8000)), "WEBP", lossless=True, method=0), id="WEBP"),
        pytest.param(
            lambda: encoded(Image.new("F", (8000, 8000)), "TIFF", compression="tiff_adobe_deflate"), id="TIFF"
        ),
        pytest.param(
            lambda: encoded(Image.new("RGB", (8000, 8000)), "JPEG", progressive=True, subsampling=0), id="JPEG"
        ),
    ],
)
@pytest.mark.slow
def test_memory_is_bounded_and_the_message_says_so(data: Callable[[], bytes]) -> None:
    small = start_pool(plan_memory=lambda model, worker: 100 * MEGABYTE)
    with pytest.raises(ImageTooCostly, match=r"within the 100 MB that one image may take.*MemorySize"):
        small.classify(data(), 1, 60)
    assert_alive(small)
    small.close()


def test_a_damaged_file_is_still_corrupt_where_memory_suffices(pool: WorkerPool) -> None:
    for image_format in ("JPEG", "WEBP", "TIFF", "AVIF", "PNG"):
        data = encoded(picture(size=(600, 400)), image_format)
        with pytest.raises(CorruptImage):
            pool.classify(data[: len(data) // 2], 1, 60)


@pytest.mark.slow
def test_a_batch_of_the_largest_pictures_stays_within_its_share() -> None:
    pool = start_pool(limits=Limits(), plan_memory=lambda model, worker: 600 * MEGABYTE)
    data = black_png(8000, 8000, colour_type=6)
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda _: pool.classify(data, 1, 600), range(19)))
    assert {(result.width, result.height) for result in results} == {(8000, 8000)}
    peaks = []
    for pid in children():
        with contextlib.suppress(FileNotFoundError):
            status = Path(f"/proc/{pid}/status").read_text()
            peaks += [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")]
    assert max(peaks) < 800 * 1024
    pool.close()


def test_a_worker_killed_in_the_middle_of_an_image_is_replaced_and_the_image_done() -> None:
    before = children()
    pool = start_pool(limits=Limits())
    assert_alive(pool)
    (worker,) = [pid for pid in children() - before if pid in children()][-1:]
    data = encoded(Image.effect_noise((5000, 5000), 90), "PNG", compress_level=1)

    def busy() -> bool:
        return Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0] == "R"

    with ThreadPoolExecutor(1) as thread:
        pending = thread.submit(pool.classify, data, 1, 60)
        wait_until(busy)
        os.kill(worker, signal.SIGKILL)
        assert pending.result().width == 5000
    assert worker not in children()
    assert_alive(pool)
    pool.close()


def test_time_that_runs_out_is_not_the_images_fault() -> None:
    pool = start_pool(limits=Limits())
    data = encoded(Image.effect_noise((5000, 5000), 90), "PNG", compress_level=1)
    for time_left in (0.05, 0.0, -1.0):
        with pytest.raises(OutOfTime):
            pool.classify(data, 1, time_left)
    assert_alive(pool)
    pool.close()


def test_who_finds_no_worker_free_in_time_is_put_off() -> None:
    pool = start_pool(limits=Limits())
    data = encoded(Image.effect_noise((5000, 5000), 90), "PNG", compress_level=1)
    with ThreadPoolExecutor(3) as threads:
        pending = [threads.submit(pool.classify, data, 1, time_left) for time_left in (60, 60, 60)]
        with pytest.raises(OutOfTime, match="before a worker was free"):
            wait_until(lambda: any(future.running() for future in pending))
            for _ in range(100):
                pool.classify(png(), 1, 0.001)
    assert [future.result().width for future in pending] == [5000] * 3
    pool.close()


@pytest.mark.parametrize(
    ("behaviour", "error", "message"),
    [
        ("crash", ModelUnavailable, "the interpreter crashed with SIGSEGV while it ran the model"),
        ("spin", ModelUnavailable, "the interpreter crashed with SIGPROF while it ran the model"),
        ("hang", ModelUnavailable, "the interpreter made no progress for 0.5 s while it ran"),
        ("nan", CorruptImage, "the model returns NaN"),
    ],
)
def test_an_interpreter_that_misbehaves_is_not_the_images_fault(
    behaviour: str, error: type[Exception], message: str
) -> None:
    misbehaving = start_seed(behaviour)
    # A busy machine may leave one that spins without the processor for a while.
    pool = start_pool(running_seed=lambda: misbehaving, hang_seconds=0.5 if behaviour == "hang" else 30.0)
    for _ in range(2):
        with pytest.raises(error, match=message):
            pool.classify(png(), 1, 600)
    pool.close()


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("load-crash", "the interpreter crashed with SIGSEGV while it loaded the model"),
        ("load-nan", "returns NaN"),
        ("load-hang", "the interpreter made no progress for 2 s while it loaded the model"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_incompatible(behaviour: str, message: str) -> None:
    misbehaving = start_seed(behaviour)
    with pytest.raises(ModelIncompatibleError, match=message):
        start_pool(running_seed=lambda: misbehaving, hang_seconds=2.0)


def test_what_the_interpreter_or_the_memory_refuses_is_refused_here() -> None:
    with pytest.raises(ModelIncompatibleError, match="cannot load the model"):
        start_pool(content=b"no model")
    with pytest.raises(ModelIncompatibleError, match="its manifest says"):
        start_pool(manifest_for(labels=("a", "b")))

    def too_little(model: int, worker: int) -> int:
        assert model == len(model_bytes("uint8_quantized"))
        assert 0 < worker < 100 * MEGABYTE
        raise ConfigError("too little")

    with pytest.raises(ConfigError):
        start_pool(plan_memory=too_little)


def test_many_threads_share_the_workers() -> None:
    pool = start_pool(workers=2)
    images = {colour: png(colour) for colour in COLOURS}
    with ThreadPoolExecutor(8) as threads:
        labels = list(threads.map(lambda colour: pool.classify(images[colour], 1, 60).top[0].label, [*COLOURS] * 20))
    assert labels == [*COLOURS] * 20
    pool.close()


def test_a_seed_that_has_died_is_replaced() -> None:
    before = children()
    seeds = [Seed.start()]
    (pid,) = children() - before

    def running() -> Seed:
        if not seeds[-1].alive():
            seeds.append(Seed.start())
        return seeds[-1]

    pool = start_pool(running_seed=running)
    assert len(children() - before) == 2
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not seeds[0].alive())
    assert_alive(pool)
    pool.close()
    assert_alive(start_pool(running_seed=running))
    assert len(seeds) == 2


SCRIPT = """
import os, sys, threading
from tests.support.images import png
from tests.support.pools import start_pool
from tests.support.processes import children
threaded = sys.argv[1] == "threaded"
if threaded:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
pool = start_pool(workers=2)
assert pool.classify(png("blue"), 1, 60).top[0].label == "blue"
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("threads", ["single", "threaded"])
@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM, None])
def test_the_workers_end_with_the_function_however_it_ends(threads: str, death: int | None) -> None:
    before = children()
    function = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, threads],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "functions"), str(ROOT)])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with function:
        assert function.stdout is not None
        assert function.stdin is not None
        assert function.stdout.readline() == b"ready\n"
        started = children() - before
        assert len(started) == 4, "the function, its seed and two workers"
        if death is None:
            function.stdin.close()
        else:
            function.send_signal(death)
        function.wait(60)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started - {function.pid}))


def test_a_pool_in_a_cycle_is_collected_without_a_complaint() -> None:
    def start_and_forget() -> None:
        parent = Seed.start()
        pool = start_pool(running_seed=lambda: parent)
        vars(pool)["itself"] = vars(parent)["itself"] = (pool, parent)

    start_and_forget()
    gc.collect()  # a complaint fails the test


def test_the_shared_byte_cannot_be_cut_off_or_frozen() -> None:
    descriptor = shared_byte()
    try:
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, 0)
        with pytest.raises(PermissionError):
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    finally:
        os.close(descriptor)
