"""What the figures of a run look like: the table in the README, and a page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.subjects import (
    BASELINE,
    BASELINE_LIMIT,
    FUNCTION,
    IMAGE,
    JSONL,
    KERAS_PREDICT,
    LIMIT,
    ONNX_RUNTIME,
    PLAIN,
)
from model_build.html.charts import stacked_bars
from model_build.html.elements import Html, element, facts, figure, page, table, tiles

Document = Mapping[str, Any]

BEGIN, END = "<!-- figures of make bench -->", "<!-- end of figures -->"
WORDS = {
    (FUNCTION, IMAGE): "Bucketlens",
    (FUNCTION, JSONL): "Bucketlens, JSON Lines",
    (BASELINE, IMAGE): "baseline",
    (BASELINE, JSONL): "baseline, JSON Lines",
    (LIMIT, None): "decode and predict only",
    (BASELINE_LIMIT, None): "baseline: decode, predict",
    (PLAIN, None): "plain, LiteRT float32",
    (ONNX_RUNTIME, None): "plain, ONNX Runtime",
    (KERAS_PREDICT, None): "plain, Keras predict",
}


# On a phone a chart is scrolled rather than shrunk until nobody can read it.
_STYLE = "@media (max-width: 40rem) { figure { overflow-x: auto; } figure svg { width: 34rem; max-width: none; } }\n"


def cases(document: Document, subject: str, mode: str | None = None) -> dict[str, Any]:
    """The cases of a subject with its largest batch, by size."""
    own = [case for case in document["cases"] if (case["subject"], case["mode"]) == (subject, mode)]
    return {case["size"]: case for case in own if case["images"] == max(one["images"] for one in own)}


def ratio(one: Document, other: Document, name: str = "cpu_ms") -> float:
    """The median ratio of two cases' figures of the same round."""
    return float(median(a / b for a, b in zip(one[name], other[name], strict=True)))


def readme_table(document: Document) -> str:
    """The main figures as Markdown."""
    columns = [who for who in WORDS if who[0] not in (BASELINE, BASELINE_LIMIT) and cases(document, *who)]
    head = ["", *(WORDS[who] for who in columns)]
    rows = []
    for size in cases(document, FUNCTION, IMAGE):
        found = [cases(document, *who).get(size) for who in columns]
        rows.append([f"JPEG, {_size(size)}", *(_speed(case) if case else "" for case in found)])
    starts = {start["subject"]: start for start in document["cold_starts"]}
    rows.append(["cold start, CPU", *(_start(starts, who) for who in columns)])
    peaks = {(peak["subject"], peak["size"]): peak["mb"] for peak in document["peak_memory"]}
    for size in dict.fromkeys(size for _, size in peaks):
        told = [peaks.get((subject, size)) if mode != JSONL else None for subject, mode in columns]
        rows.append([f"peak memory, {_size(size)}", *(f"{mb} MB" if mb else "" for mb in told)])
    lines = [head, ["---"] * len(head), *rows]
    return "".join("".join(f"| {cell} " if cell else "| " for cell in cells) + "|\n" for cells in lines)


def into_readme(text: str, document: Document) -> str:
    """The README with the table of ``document`` between its markers.

    Raises:
        ValueError: it has no markers.
    """
    pattern = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"the README has no {BEGIN} ... {END}")
    return pattern.sub(lambda _: f"{BEGIN}\n{readme_table(document)}{END}", text)


def targets(document: Document) -> list[tuple[str, str]]:
    """What was measured against the baseline, the plain handlers and the bare limit, as (what, ratio)."""
    return list(_targets(document))


def _targets(document: Document) -> Iterator[tuple[str, str]]:
    limits, before = cases(document, LIMIT), cases(document, BASELINE_LIMIT)
    for mode in (IMAGE, JSONL):
        theirs = cases(document, BASELINE, mode)
        for size, case in cases(document, FUNCTION, mode).items():
            what = f"{_size(size)}, {'JSON Lines' if mode == JSONL else 'a JSON file an image'}"
            yield f"{what}: CPU / bare limit", f"{ratio(case, limits[size]):.2f}"
            if size in theirs:
                ours = median(case["cpu_ms"]) - median(limits[size]["cpu_ms"])
                old = median(theirs[size]["cpu_ms"]) - median(before[size]["cpu_ms"])
                yield f"{what}: CPU / the baseline's bare limit", f"{ratio(case, before[size]):.2f}"
                yield f"{what}: CPU / the baseline's", f"{ratio(case, theirs[size]):.2f}"
                yield f"{what}: overhead / the baseline's ({ours:.2f} / {old:.2f} ms)", f"{ours / old:.2f}"
    for subject in (PLAIN, ONNX_RUNTIME, KERAS_PREDICT):
        for size, plain in cases(document, subject).items():
            faster = ratio(cases(document, FUNCTION, IMAGE)[size], plain, "images_per_second")
            yield f"{_size(size)}: images per second / {WORDS[subject, None]}", f"{faster:.1f}"
    starts = {start["subject"]: start["cpu_ms"] for start in document["cold_starts"]}
    for subject in (BASELINE, PLAIN, ONNX_RUNTIME, KERAS_PREDICT):
        if subject in starts:
            share = starts[FUNCTION] / starts[subject]
            yield f"CPU of a cold start / {_words(subject)}", f"{share:.2f}"
    if grown := document.get("growth"):
        (least, first), (most, last) = grown["cpu_ms"][0], grown["cpu_ms"][-1]
        yield f"CPU an image, batches of {most:,} / of {least:,}", f"{last / first:.3f}"
        settled, end = grown["memory_mb"][1], grown["memory_mb"][-1]
        yield f"memory after {end[0]:,} invocations / after {settled[0]:,}", f"{end[1] / settled[1]:.3f}"


def render(document: Document) -> str:
    """The page: figures and plots first, then every case."""
    function = cases(document, FUNCTION, IMAGE)
    size, case = next(iter(function.items()))
    starts = {_words(start["subject"]): start["cpu_ms"] for start in document["cold_starts"]}
    every = [(who, one) for who in WORDS for one in cases(document, *who).values()]
    fastest = [(one["size"], WORDS[who], [round(median(one["images_per_second"]), 1)]) for who, one in every]
    memory = [(one["size"], _words(one["subject"]), [one["mb"]]) for one in document["peak_memory"]]
    parts = [
        element("h1", "Speed of Bucketlens"),
        element("p", f"commit {document['commit']}, measured {document['measured_at']}", "muted"),
        tiles(
            [
                (f"{median(case['images_per_second']):.0f}/s", f"images of {_size(size)}, one core"),
                (f"{median(case['cpu_ms']):.1f} ms", "CPU an image"),
                (f"{ratio(case, cases(document, LIMIT)[size]):.2f}", "times decode and predict only"),
                (f"{starts[_words(FUNCTION)]:,.0f} ms", "CPU of a cold start"),
            ]
        ),
        element("h2", "Images per second"),
        *_by_size(fastest, [""], "Images per second on one core"),
        element("h2", "CPU by stage"),
        *_stage_parts(document),
        element("h2", "Cold start"),
        figure(
            stacked_bars([(name, [round(cpu)]) for name, cpu in starts.items()], [""], "CPU of a cold start"),
            "CPU milliseconds from the start of the process until the model is loaded",
        ),
        *([element("h2", "Peak memory")] if memory else []),
        *_by_size(memory, [""], "Peak memory in MB"),
        *_growth_parts(document),
        element("h2", "Ratios"),
        table(("medians of the ratios of each round", "ratio"), targets(document)),
        element("h2", "Every case"),
        _every_case(document),
        element("h2", "How it was measured"),
        facts(_facts(document)),
    ]
    return page("Speed of Bucketlens", parts, style=_STYLE)


def _by_size(rows: Iterable[tuple[str, str, Sequence[float]]], series: Sequence[str], what: str) -> list[Html]:
    """A chart for each size, of rows (size, words, values)."""
    charts: dict[str, list[tuple[str, Sequence[float]]]] = {}
    for size, words, values in rows:
        charts.setdefault(size, []).append((words, values))
    return [
        figure(stacked_bars(bars, series, f"{what}, {_size(size)}"), f"{what}, {_size(size)}")
        for size, bars in charts.items()
    ]


def _stage_parts(document: Document) -> list[Html]:
    names = ("fetch", "decode", "predict", "dispatch", "record", "rest")
    bars, rows = [], []
    for one in document["stages"]:
        ms, words = one["stages_ms"], WORDS[one["subject"], one["mode"]]
        shown = (ms["decode"], ms["predict"], ms["fetch"] + ms["record"], ms["dispatch"] + ms["rest"])
        bars.append((one["size"], words, [round(value, 1) for value in shown]))
        rows.append((f"{_size(one['size'])}, {words}", *(f"{ms[name]:.2f}" for name in names)))
    series = ["decode", "predict", "fetch and record", "the rest"]
    explanation = (
        "The stages are measured with one image at a time. Dispatch is what it costs to have another process decode and"
        " predict; the rest is what the batch costs beyond all stages: threads, reading the event, logging, metrics."
    )
    return [
        *_by_size(bars, series, "CPU milliseconds an image"),
        element("p", explanation),
        table(("CPU ms an image", *names), rows),
    ]


def _growth_parts(document: Document) -> list[Html]:
    grown = document.get("growth")
    if not grown:
        return []
    by_batch = [(f"{count:,} images", [ms]) for count, ms in grown["cpu_ms"]]
    every = max(1, len(grown["memory_mb"]) // 10)
    by_time = [(f"{number:,} invocations", [mb]) for number, mb in grown["memory_mb"][::every]]
    what = f"CPU milliseconds an image by size of the batch, {_size(grown['size'])}"
    return [
        element("h2", "Growth"),
        figure(stacked_bars(by_batch, [""], what), what),
        figure(
            stacked_bars(by_time, [""], "Memory by invocations"), "Memory in MB after invocations of one image each"
        ),
        element("p", f"commit {grown['commit']}, measured {grown['measured_at']}", "muted"),
    ]


def _every_case(document: Document) -> Html:
    head = ("", "photos", "batch", "images/s", "CPU ms", "least", "most", "image p50", "p99 ms", "event p50", "p99 ms")
    rows = []
    for case in document["cases"]:
        image, event, cpu = case.get("image_ms", {}), case["invocation_ms"], case["cpu_ms"]
        figures = (median(case["images_per_second"]), median(cpu), min(cpu), max(cpu))
        latencies = (image.get("p50", ""), image.get("p99", ""), event["p50"], event["p99"])
        names = (
            element("span", name, "nowrap") for name in (WORDS[case["subject"], case["mode"]], _size(case["size"]))
        )
        rows.append((*names, case["images"], *(f"{one:.1f}" for one in figures), *latencies))
    return table(head, rows, words=(0, 1))


def _facts(document: Document) -> list[tuple[object, object]]:
    photos = ", ".join(f"{_size(size)}: {count / 1000:,.0f} kB" for size, count in document["photos"].items())
    packages = [(one["name"], f"{one['mb']} MB, cold start {one['cpu_ms']} ms CPU") for one in document["packages"]]
    return [
        *document["machine"].items(),
        ("model", document["model"]),
        ("photos, mean size", photos),
        ("storage", document["storage"]),
        ("rounds", document["rounds"]),
        ("baseline", document["baseline"] or "none"),
        *packages,
    ]


def _words(subject: str) -> str:
    return WORDS.get((subject, IMAGE)) or WORDS[subject, None]


def _size(size: str) -> str:
    return size.replace("x", " x ") if size[0].isdigit() else "all three sizes"


def _speed(case: Document) -> str:
    cpu = f"{median(case['cpu_ms']):.1f} ms"
    return cpu if case["subject"] == LIMIT else f"{median(case['images_per_second']):.0f}/s, {cpu}"


def _start(starts: Mapping[str, Document], who: tuple[str, str | None]) -> str:
    subject, mode = who
    return f"{starts[subject]['cpu_ms']:,.0f} ms" if subject in starts and mode != JSONL else ""
