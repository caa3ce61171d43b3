"""Pictures for the run folder and the report, as PNG bytes. Drawn without a display."""

from __future__ import annotations

import io

import numpy as np

from classifier.errors import UserError
from model_build.quality.metrics import Scores

_CELL_INCHES = 0.45
_MOST_LABELLED = 60  # ticks and counts of larger matrices would be smaller than a pixel


def confusion_picture(scores: Scores) -> bytes:
    """The confusion matrix: rows true, columns predicted, shaded by the share of the true class.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("pictures need matplotlib; install it with: pip install 'bucketlens[build]'") from None
    counts = np.array(scores.confusion)
    labels = [label if len(label) <= 24 else f"{label[:22]}..." for label in scores.labels]
    side = min(14.0, max(4.0, _CELL_INCHES * len(labels) + 1.8))
    # A figure of its own instead of pyplot's: no global state, and no display looked for.
    figure = Figure(figsize=(side, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"{scores.correct} of {scores.images} right ({scores.accuracy:.1%})")
    if len(labels) <= _MOST_LABELLED:
        axes.set_xticks(range(len(labels)), labels, rotation=90)
        axes.set_yticks(range(len(labels)), labels)
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=8, color=colour)
    else:
        axes.set_xticks([])
        axes.set_yticks([])
    buffer = io.BytesIO()
    # No software tag and no date: the same scores give the same bytes.
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()
