"""``make demo``: the whole story on one machine, from photos to predictions read back from the table.

Every step is shown as the command that does the same.
"""

from __future__ import annotations

import math
import shlex
import shutil
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import model_build
from bucketlens.cli import display
from bucketlens.cli.main import run as run_to_exit
from bucketlens.cli.results import print_table
from bucketlens.gallery.local import mount_gallery
from bucketlens.local.constants import DEFAULT_PORT
from bucketlens.local.files import TEMPLATE
from bucketlens.local.stack import LOG_FOLDER, LocalStack
from bucketlens.results import Item, Query, find
from classifier.bundle import REPORT_NAME
from classifier.errors import UserError

if TYPE_CHECKING:
    from model_build.bundles.publish import Publication

WORKSPACE = Path(".bucketlens") / "demo"
_PATIENCE_SECONDS = 120.0
_POLL_SECONDS = 0.2
_SHOWN = 8
_SAMPLES = 3
_REASON = "a demonstration"

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
console = Console(stderr=True, highlight=False)


@dataclass(frozen=True)
class Drop:
    """A photo to drop into the bucket. ``label`` is what it shows, where that is known."""

    path: Path
    key: str
    label: str | None


@app.command()
def demo(
    data: Annotated[str, typer.Option(help="Folder of photos, one folder per class; the digits by default.")] = "",
    model: Annotated[str, typer.Option(help="A ready .tflite model, instead of training one.")] = "",
    labels: Annotated[str, typer.Option(help="Its labels, one per line.")] = "",
    images: Annotated[str, typer.Option(help="Folder of images to classify with it.")] = "",
    backbone: Annotated[str, typer.Option(help="Network to train; by default the one that suits the photos.")] = "",
    weights: Annotated[str, typer.Option(help="Weights file to start from.")] = "",
    minutes: Annotated[str, typer.Option(help="Minutes that the training may take, about.")] = "",
    loop: Annotated[bool, typer.Option(help="Also correct predictions, train again, and compare.")] = False,
    keep: Annotated[bool, typer.Option(help="Leave the local stack running at the end, until Ctrl-C.")] = False,
) -> None:
    """Train (or import), publish, drop images into the bucket, read the predictions back.

    Example: python -m bucketlens.demo --data photos
    """
    given = [name for name, value in (("MODEL", model), ("LABELS", labels), ("IMAGES", images)) if value]
    if given and len(given) < 3:
        raise UserError("one's own model needs all three: make demo MODEL=x.tflite LABELS=y.txt IMAGES=folder")
    if given and data:
        raise UserError("DATA trains a model and MODEL brings one: give one of them")
    if loop and (given or data or keep):
        raise UserError("LOOP shows the loop on the digits: give no DATA, MODEL or KEEP with it")
    chosen = {
        name: value for name, value in (("backbone", backbone), ("weights", weights), ("minutes", minutes)) if value
    }
    if chosen and not data:
        raise UserError("BACKBONE, WEIGHTS and MINUTES are for one's own photos: give DATA=folder with them")
    if minutes and not minutes.replace(".", "", 1).isdigit():
        raise UserError(f"MINUTES is {minutes!r}; it must be a number")
    check_inputs(*(Path(value) for value in (data, model, labels, images, weights) if value))
    if data and not any(child.is_dir() for child in Path(data).iterdir()):
        raise UserError(f"{data} has no class folders; put the photos of each class into a folder named after it")
    shutil.rmtree(WORKSPACE, ignore_errors=True)
    if loop:
        from bucketlens.demo_loop import show_loop

        show_loop()
        return
    bundle = WORKSPACE / "bundle"
    drops = _imported(Path(model), Path(labels), Path(images), bundle) if given else _trained(data, bundle, chosen)
    samples = write_samples(drops, WORKSPACE / "photos")
    with LocalStack(TEMPLATE, port=DEFAULT_PORT if keep else 0) as stack:
        passed = publish(stack, bundle).verdict.passed
        started = time.monotonic()
        drop(stack, drops)
        wait(stack, len(drops))
        seconds = time.monotonic() - started
        items = list(find(stack.aws.dynamodb, stack.table, Query()))
        _tell(items, drops, stack, seconds)
        console.print(
            "\n".join(["", *_go_on(bundle, samples, items, stack, passed, keep)]), markup=False, soft_wrap=True
        )
        if keep:
            _stay(stack)


def main() -> None:
    """The module's entry point."""
    run_to_exit(app)


def check_inputs(*paths: Path) -> None:
    """Refuse what the demo would only find out about after it has deleted the last one.

    Raises:
        UserError: a path does not exist, or lies in the demo's own folder.
    """
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} does not exist; the last demo is left as it is")
        if path.resolve().is_relative_to(WORKSPACE.resolve()):
            raise UserError(f"{path} lies in {WORKSPACE}, which the demo makes anew: copy it elsewhere first")


def write_samples(drops: list[Drop], folder: Path) -> list[Drop]:
    """Copy a few photos, of as many labels, to try the application with; and half of one, which is no image any more.

    Returns:
        The whole ones.
    """
    samples = list({drop.label or drop.path: drop for drop in reversed(drops)}.values())[: -_SAMPLES - 1 : -1]
    for drop in samples:
        copy = folder / drop.key
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(drop.path, copy)
    first = samples[0].path
    content = first.read_bytes()
    (folder / f"cut{first.suffix}").write_bytes(content[: len(content) // 2])
    return samples


def _trained(data: str, bundle: Path, chosen: dict[str, str]) -> list[Drop]:
    folder = Path(data) if data else WORKSPACE / "digits"
    if not data:
        step("model", "sample-data", folder)
        model_build.write_sample_data(folder)
    trained = build(folder, WORKSPACE / "run", bundle, folder.resolve().name, chosen)
    return [
        Drop(photo.path, f"{photo.label}/{photo.path.name}", photo.label)
        for photo in trained.run.split().photos["test"]
    ]


def build(
    folder: Path, run: Path, bundle: Path, name: str, chosen: Mapping[str, str] = MappingProxyType({})
) -> model_build.Trained:
    """Train, convert and package. ``chosen``: ``backbone``, ``weights`` and ``minutes`` that were given."""
    with display.Screen(display.messages()).running() as screen:
        step(
            "model",
            "train",
            folder,
            "--out",
            run,
            *(word for option, value in chosen.items() for word in (f"--{option}", value)),
        )
        trained = model_build.train(
            folder,
            run,
            backbone=chosen.get("backbone"),
            weights=Path(chosen["weights"]) if "weights" in chosen else None,
            minutes=float(chosen["minutes"]) if "minutes" in chosen else None,
            watcher=screen,
        )
        typer.echo(f"test accuracy        {display.accuracy_line(trained.scores)}")
        step("model", "convert", run)
        tell_lines(display.conversion_lines(model_build.convert(run, watcher=screen)))
        step("model", "package", run, "--out", bundle, "--name", name)
        packaged = model_build.package(run, bundle, name=name, watcher=screen)
        tell_lines(display.gate_lines(packaged.evidence.gate))
    return trained


def _imported(model: Path, labels: Path, images: Path, bundle: Path) -> list[Drop]:
    if not images.is_dir():
        raise UserError(f"the folder of images {images} does not exist")
    paths = sorted(path for path in images.rglob("*") if path.is_file() and not path.name.startswith("."))
    if not paths:
        raise UserError(f"there are no files in {images}")
    step("model", "import", "--tflite", model, "--labels", labels, "--out", bundle)
    with display.Screen(display.messages()).running() as screen:
        model_build.import_model(model, labels, bundle, watcher=screen)
    return [Drop(path, path.relative_to(images).as_posix(), None) for path in paths]


def publish(stack: LocalStack, bundle: Path, *, promote: bool = True) -> Publication:
    """Publish, past the gate if need be: the demo goes the whole way, and its report says what the model is worth."""
    uri = stack.deployment.outputs["ModelUri"]
    step("model", "publish", bundle, "--to", uri, *([] if promote else ["--no-promote"]), "--force", _REASON)
    with display.Screen(display.messages()).running() as screen:
        done = model_build.publish(bundle, uri, promote=promote, force=_REASON, watcher=screen, client=stack.aws.s3)
    tell_lines(display.gate_lines(done.verdict))
    if not done.verdict.passed:
        console.print(f"published by force: {_REASON}", markup=False)
    return done


def drop(stack: LocalStack, drops: list[Drop]) -> None:
    prefix = stack.settings["INPUT_PREFIX"]
    step_text(f"aws s3 cp IMAGES s3://{stack.bucket}/{prefix} --recursive    # {len(drops)} images")

    def put(drop: Drop) -> None:
        stack.aws.s3.put_object(Bucket=stack.bucket, Key=prefix + drop.key, Body=drop.path.read_bytes())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, drops))


def wait(stack: LocalStack, expected: int) -> None:
    """Wait until every image has a result or is given up on, with a progress bar.

    Raises:
        UserError: images went to the dead-letter queue, or nothing has moved for two minutes.
    """
    pause = threading.Event()
    columns = (TextColumn("classifying"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("classifying", total=expected)
        done, moved_at = 0, time.monotonic()
        while done < expected:
            recorded = _recorded(stack)
            if recorded != done:
                done, moved_at = recorded, time.monotonic()
                progress.update(task, completed=done)
            dead = stack.aws.sqs.get_queue_attributes(
                QueueUrl=stack.dead_letter_queue_url, AttributeNames=["ApproximateNumberOfMessages"]
            )["Attributes"]["ApproximateNumberOfMessages"]
            if dead != "0":
                raise UserError(f"{dead} images went to the dead-letter queue; the reason is in {LOG_FOLDER}")
            if time.monotonic() - moved_at > _PATIENCE_SECONDS:
                raise UserError(f"{expected - done} images have no result after {done}; the reason is in {LOG_FOLDER}")
            pause.wait(_POLL_SECONDS)


def _recorded(stack: LocalStack) -> int:
    pages = stack.aws.dynamodb.get_paginator("scan").paginate(TableName=stack.table, Select="COUNT")
    return sum(page["Count"] for page in pages)


def _tell(items: list[Item], drops: list[Drop], stack: LocalStack, seconds: float) -> None:
    prefix = f"s3://{stack.bucket}/{stack.settings['INPUT_PREFIX']}"
    truth = {prefix + drop.key: drop.label for drop in drops}
    classified = [item for item in items if item["status"] == "classified"]
    console.print(
        f"{len(items)} results in DynamoDB {seconds:.1f} s after the first image was dropped:"
        f" {len(classified)} classified, {len(items) - len(classified)} rejected",
        soft_wrap=True,
    )
    least_sure = sorted(items, key=lambda item: item.get("confidence", -1.0))
    known = all(drop.label is not None for drop in drops)
    shown = least_sure[: _SHOWN // 2] + least_sure[-_SHOWN // 2 :] if len(items) > _SHOWN else least_sure
    print_table(iter(shown), title="the least and the most certain" if len(items) > _SHOWN else None)
    if known:
        right = sum(item.get("label") == truth[item["image_uri"]] for item in items)
        typer.echo(
            f"accuracy {right / len(items):.4f} ({right} of {len(items)} held-out images, read back from DynamoDB)"
        )


def _go_on(
    bundle: Path, samples: list[Drop], items: list[Item], stack: LocalStack, passed: bool, keep: bool
) -> list[str]:
    """What to do next; the commands fit the results that the samples have got."""
    prefix = f"s3://{stack.bucket}/{stack.settings['INPUT_PREFIX']}"
    dropped = {prefix + sample.key for sample in samples}
    force = "" if passed else f" --force {shlex.quote(_REASON)}"
    return [
        f"Read {bundle / REPORT_NAME} in a browser, and go on",
        *([] if keep else ["in one terminal:", "  .venv/bin/bucketlens local up"]),
        "in another:",
        '  eval "$(.venv/bin/bucketlens local env)"',
        *([] if keep else [f"  .venv/bin/bucketlens model publish {bundle}{force}"]),
        f"  .venv/bin/aws s3 cp {WORKSPACE / 'photos'} {stack.deployment.outputs['InputUri']} --recursive",
        "  .venv/bin/bucketlens results find --wait all",
        f"  .venv/bin/bucketlens results find {query_for([item for item in items if item['image_uri'] in dropped])}",
        "on AWS:",
        "  sam build && sam deploy --guided",
    ]


def query_for(items: list[Item]) -> str:
    """Options of `results find` that the surest of these results matches; the rejected ones if there is no other."""
    sure = max((item for item in items if "label" in item), key=lambda item: item["confidence"], default=None)
    if sure is None:
        return "--rejected"
    return f"--label {shlex.quote(sure['label'])} --min-confidence {math.floor(10 * sure['confidence']) / 10:.1f}"


def _stay(stack: LocalStack) -> None:
    console.print(f"Look at the results in a browser: {mount_gallery(stack)}")
    console.print("The local stack stays up until Ctrl-C.")
    stack.wait()


def tell_lines(lines: list[str]) -> None:
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def step(*words: object) -> None:
    step_text("bucketlens " + shlex.join(map(str, words)))


def step_text(text: str) -> None:
    console.print(f"\n$ {text}", style="bold", markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
