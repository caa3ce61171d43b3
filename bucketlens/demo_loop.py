"""``make demo LOOP=1``: look, correct, train again, compare, promote, on the digits.

Three tenths of the digits take no part in anything but the comparison of the two models. The person who reviews is
played by the digits' true labels.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from pathlib import Path

import typer

import model_build
from bucketlens.annotations.examples import decided
from bucketlens.annotations.export import ExportFormat, write
from bucketlens.cli import display
from bucketlens.demo import WORKSPACE, Drop, build, console, drop, publish, step, step_text, wait
from bucketlens.local.files import TEMPLATE
from bucketlens.local.stack import LocalStack
from bucketlens.reviews import Decision, Quotas, ReviewSession, ReviewTable, look_first

_LABELS = 60
_PER_LABEL = 12
_NAME = "digits"


def show_loop() -> None:
    """Train on half of the digits, correct 60 predictions, train on both, and promote what is better."""
    started = time.monotonic()
    half, held_out = WORKSPACE / "half", WORKSPACE / "held-out"
    drops = _dealt(WORKSPACE / "digits", half, held_out)
    before, after = WORKSPACE / "bundle", WORKSPACE / "corrected-bundle"
    build(half, WORKSPACE / "run", before, _NAME)
    with LocalStack(TEMPLATE, port=0) as stack:
        publish(stack, before)
        drop(stack, drops)
        wait(stack, len(drops))
        _correct(stack, drops)
        _merge(stack, half)
        build(half, WORKSPACE / "corrected-run", after, _NAME)
        version = publish(stack, after, promote=False).version
        _compare(stack, before, after, held_out, version)
    typer.echo(f"the loop took {time.monotonic() - started:.0f} s")


def _dealt(digits: Path, half: Path, held_out: Path) -> list[Drop]:
    """Of ten photos of a class: five to the model, two of these to train on; two to the bucket; three held out."""
    step("model", "sample-data", digits)
    model_build.write_sample_data(digits)
    drops = []
    turns = ("train", "drop", "held out", "validation", "test", "train", "held out", "drop", "test", "held out")
    for path in sorted(digits.rglob("*.png")):
        label = path.parent.name
        turn = turns[int(path.stem.partition("-")[2]) % len(turns)]
        if turn == "drop":
            drops.append(Drop(path, f"{label}/{path.name}", label))
            continue
        folder = (held_out if turn == "held out" else half / turn) / label
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    return drops


def _correct(stack: LocalStack, drops: list[Drop]) -> None:
    """Decide about what comes first in the queue, as ``results review`` and the gallery do."""
    step_text(
        f"bucketlens results review --per-label {_PER_LABEL} --limit {_LABELS}"
        "    # then, for each: bucketlens results review --image IMAGE --label LABEL"
    )
    prefix = f"s3://{stack.bucket}/{stack.settings['INPUT_PREFIX']}"
    truth = {prefix + one.key: one.label for one in drops}
    session = ReviewSession(stack.aws.dynamodb, stack.table, _reviews(stack), "the true labels")
    made = [
        session.decide(item, Decision.CORRECTED, truth[item["image_uri"]])
        for item in look_first(session.read(), Quotas(per_label=_PER_LABEL))[:_LABELS]
    ]
    counts = Counter(str(review.decision) for review in made)
    console.print(f"{len(made)} of {len(drops)} predictions looked at: {dict(counts)}", markup=False)


def _merge(stack: LocalStack, half: Path) -> None:
    """Add the corrections to the training photos; validation and test photos stay those of the first model."""
    corrections = WORKSPACE / "corrections"
    step("results", "export", "--corrected", "--out", corrections)
    write(corrections, decided(_reviews(stack).read()), ExportFormat.FOLDERS, stack.aws.s3)
    step_text(f"cp -r {corrections}/. {half / 'train'}")
    shutil.copytree(corrections, half / "train", dirs_exist_ok=True)


def _compare(stack: LocalStack, before: Path, after: Path, held_out: Path, version: str) -> None:
    uri = stack.deployment.outputs["ModelUri"]
    accuracy = []
    for bundle in (before, after):
        step("model", "evaluate", bundle, held_out)
        with display.Screen(display.messages()).running() as screen:
            scores = model_build.evaluate(bundle, held_out, watcher=screen).scores
        accuracy.append(scores.accuracy)
        typer.echo(f"accuracy {'before' if bundle == before else 'after'}: {display.accuracy_line(scores)}")
    step("model", "diff", before, after, held_out)
    with display.Screen(display.messages()).running() as screen:
        found = model_build.diff(before, after, held_out, watcher=screen)
    typer.echo(
        f"{len(found.changes)} of {found.photos} photos change their label:"
        f" {found.won} become right, {found.lost} become wrong"
    )
    if accuracy[1] < accuracy[0]:
        console.print("the new model is worse on these photos, and is not promoted")
        return
    step("model", "promote", version, "--at", uri)
    model_build.promote(version, uri, client=stack.aws.s3)
    typer.echo(f"live: {version}")


def _reviews(stack: LocalStack) -> ReviewTable:
    return ReviewTable(stack.aws.dynamodb, stack.review_table)
