"""The part of the page about sizes, shapes and formats, and the input size that follows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from model_build.inspection.facts import PhotoFacts
from model_build.inspection.finding import Evidence
from model_build.inspection.summary import Spread
from model_build.report import html
from model_build.report.charts import Mark, histogram, size_scatter
from model_build.report.html import element

_ASPECTS = (1 / 3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.1, 1.25, 1.43, 1.67, 2.0, 2.5, 3.0)
_STEPS_PER_DOUBLING = 6  # sizes that differ by less than 12 % share a disc


def sizes_section(evidence: Evidence) -> Iterator[str]:
    summary = evidence.summary
    photos = evidence.photos
    yield element("h2", "Sizes, shapes and formats")
    yield html.facts(
        [
            ("Suggested input size", f"{summary.input_size.pixels} x {summary.input_size.pixels}"),
            ("because", f"{summary.input_size.reason}."),
        ]
    )
    spreads = (("short side, px", summary.short_side), ("long side, px", summary.long_side))
    yield html.table(
        ["", "smallest", "a quarter under", "half under", "three quarters under", "largest"],
        [
            *([name, *_cells(spread, "{:,.0f}")] for name, spread in spreads),
            ["long to short side", *_cells(summary.aspect, "{:.2f}")],
            ["file, KB", *_cells(summary.file_bytes, "{:,.1f}", 1 / 1024)],
        ],
    )
    short, long = summary.short_side, summary.long_side
    sides = f"short sides from {short.lowest:,.0f} to {short.highest:,.0f}, long from {long.lowest:,.0f} to"
    yield html.figure(
        size_scatter(_discs(photos), f"Widths and heights: {sides} {long.highest:,.0f} pixels"),
        "Width (across) and height (up) in pixels, both logarithmic; the larger the disc, the more photos of about that"
        " size. Square photos lie on the dashed line.",
    )
    edges, counts, words = _aspects(photos)
    yield html.figure(
        histogram(
            edges,
            counts,
            f"Aspect ratios: {summary.wide:,} of {len(photos):,} photos are longer than twice their width, or wider",
            edge_words=words,
            marks=[Mark(1.0, "square")],
        ),
        "Photos by width over height: upright to the left, wide to the right.",
    )
    rows = [(name, f"{count:,}", f"{count / len(photos):.1%}") for name, count in summary.formats.items()]
    yield html.table(["format", "photos", "share"], rows)
    rows = [(name, f"{count:,}", f"{count / len(photos):.1%}") for name, count in summary.modes.items()]
    yield html.table(["pixels stored as", "photos", "share"], rows)
    yield element("p", f"All readable files together: {summary.size_bytes / 1e6:,.1f} MB.")


def _cells(spread: Spread, form: str, factor: float = 1.0) -> list[str]:
    values = (spread.lowest, spread.quarter, spread.median, spread.three_quarters, spread.highest)
    return [form.format(value * factor) for value in values]


def _discs(photos: tuple[PhotoFacts, ...]) -> list[tuple[int, int, int]]:
    """Sizes with their counts, those of about the same size as one: the page stays small however many there are."""
    found: dict[tuple[int, int], Counter[tuple[int, int]]] = {}
    for photo in photos:
        size = photo.measured.width, photo.measured.height
        cell = _step(size[0]), _step(size[1])
        found.setdefault(cell, Counter())[size] += 1
    discs = []
    for sizes in found.values():
        (width, height), _ = sizes.most_common(1)[0]
        discs.append((width, height, sizes.total()))
    return discs


def _step(side: int) -> int:
    return round(math.log2(side) * _STEPS_PER_DOUBLING)


def _aspects(photos: tuple[PhotoFacts, ...]) -> tuple[list[float], list[int], list[str]]:
    ratios = np.array([photo.measured.width / photo.measured.height for photo in photos])
    edges = [0.0, *_ASPECTS, math.inf]
    counts = [int(((ratios >= low) & (ratios < high)).sum()) for low, high in pairwise(edges)]
    return edges, counts, ["", "1:3", "", "1:2", "", "", "", "", "", "", "", "", "2:1", "", "3:1", ""]
