"""``bucketlens model``: from a folder of photos, or a ready ``.tflite``, to a published model."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from classifier.errors import UserError
from model_build import display
from model_build.choices import OutputChoice, QuantizationChoice, ScalingChoice

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Train, convert, package, publish; or import a ready TensorFlow Lite model.",
)


class Resize(StrEnum):
    """:class:`classifier.imaging.ResizePolicy`, without the import of Pillow that it costs."""

    STRETCH = "stretch"
    CROP = "crop"
    PAD = "pad"


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"


DataOption = Annotated[
    Path | None, typer.Option("--data", help="Where the photos of the run are now, if they have been moved.")
]
AtOption = Annotated[str, typer.Option("--at", help="Model location: s3://bucket/models/")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Check everything, change nothing in AWS.")]
SizeHelp = "Side of the model's square input in pixels (default: the backbone's own)."


@app.command("sample-data")
def sample_data(out: Annotated[Path, typer.Argument(help="Folder to write; must not hold files.")]) -> None:
    """Write scikit-learn's 1,797 handwritten digits as photos, one folder a class.

    Example: bucketlens model sample-data digits
    """
    from model_build.sample_data import write_digits

    with display.Screen(display.messages()).running() as screen:
        screen.step("writing digits")
        counts = write_digits(out)
    display.messages().print(f"{sum(counts.values())} photos in {len(counts)} classes", markup=False)
    typer.echo(out)


@app.command()
def train(
    data: Annotated[Path, typer.Argument(help="Folder with a folder per class; train/validation/test above is fine.")],
    out: Annotated[Path, typer.Option("--out", help="Run folder to write.")],
    backbone: Annotated[str | None, typer.Option(help="Network (default: small_cnn).")] = None,
    weights: Annotated[Path | None, typer.Option(help="A .weights.h5 file for the backbone to start from.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML or JSON with any settings; options win over it.")] = None,
    epochs: Annotated[int | None, typer.Option(help="At most this many passes over the photos.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Photos a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    image_size: Annotated[int | None, typer.Option(help=SizeHelp)] = None,
    resize: Annotated[Resize | None, typer.Option(help="How a photo becomes that square.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the split, the weights, order and augmentation.")] = None,
) -> None:
    """Train a classifier from a folder of photos, and measure it on photos it has not seen.

    Example: bucketlens model train digits --out runs/digits
    """
    _require_interpreter()
    from model_build.config import TrainingConfig
    from model_build.training import train as train_run

    settings = TrainingConfig.from_file(config) if config else TrainingConfig()
    options = {
        "backbone": backbone,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "image_size": image_size,
        "resize": resize.value if resize else None,
        "seed": seed,
    }
    settings = settings.overridden(options, "the options")
    with display.Screen(display.messages()).running() as screen:
        run, scores = train_run(settings, data, out, weights=weights, watcher=screen)
    console = display.results()
    console.print(f"validation accuracy  {run.record.validation['accuracy']:.4f}", markup=False)
    console.print(f"test accuracy        {display.accuracy_line(scores)}", markup=False)
    confusion = display.confusion_table(scores)
    if confusion is not None:
        console.print(confusion)
    display.messages().print(f"written: {out}; next: bucketlens model convert {out}", markup=False)


@app.command()
def convert(run: Annotated[Path, typer.Argument(help="Run folder.")], data: DataOption = None) -> None:
    """Convert a run to float32 and int8 TensorFlow Lite, each tested in the interpreter that serves.

    Example: bucketlens model convert runs/digits
    """
    _require_interpreter()
    from model_build.conversion import convert as convert_run
    from model_build.runs import Run

    opened = Run.open(run)
    with display.Screen(display.messages()).running() as screen:
        conversion = convert_run(opened, data=data, on_step=screen.step, progress=screen.progress)
    display.results().print(display.conversion_table(conversion))
    display.messages().print(conversion.verdict, markup=False)
    display.messages().print(f"next: bucketlens model package {run} --out bundles/{run.resolve().name}", markup=False)


@app.command()
def evaluate(
    target: Annotated[Path, typer.Argument(help="Run folder or bundle folder.")],
    data: Annotated[Path, typer.Argument(help="Folder with a folder per class, named as the model's labels.")],
) -> None:
    """Measure a model on labelled photos, through the decoding and the interpreter that serve.

    Example: bucketlens model evaluate bundles/digits digits
    """
    _require_interpreter()
    from model_build.evaluation import evaluate as evaluate_model

    with display.Screen(display.messages()).running() as screen:
        screen.step("evaluating")
        evaluation = evaluate_model(target, data, progress=screen.progress)
        screen.left_out(evaluation.unreadable)
    display.show_evaluation(evaluation)


@app.command()
def package(
    run: Annotated[Path, typer.Argument(help="Converted run folder.")],
    out: Annotated[Path, typer.Option("--out", help="Bundle folder to write.")],
    name: Annotated[str | None, typer.Option(help="The model's name in every result (default: the run's).")] = None,
    quantization: Annotated[
        QuantizationChoice, typer.Option(help="auto: what convert chose.")
    ] = QuantizationChoice.AUTO,
    data: DataOption = None,
) -> None:
    """Make a proven bundle: model, manifest, report and a few golden photos, copied from the test split.

    Example: bucketlens model package runs/digits --out bundles/digits
    """
    _require_interpreter()
    from model_build.packaging import package as package_run
    from model_build.runs import Run

    opened = Run.open(run)
    with display.Screen(display.messages()).running() as screen:
        screen.step("packaging")
        manifest = package_run(opened, out, name=name, quantization=quantization, data=data, progress=screen.progress)
    display.messages().print(f"written and proven: {out} ({manifest.metrics['quantization']})", markup=False)
    typer.echo(manifest.version)


@app.command("import")
def import_(
    tflite: Annotated[Path, typer.Option("--tflite", help="The model.")],
    labels: Annotated[Path, typer.Option("--labels", help="Its labels, one a line in output order, UTF-8.")],
    out: Annotated[Path, typer.Option("--out", help="Bundle folder to write.")],
    name: Annotated[str | None, typer.Option(help="The model's name in every result (default: the file's).")] = None,
    golden: Annotated[Path | None, typer.Option(help="Folder with a few photos for the bundle's self-test.")] = None,
    resize: Annotated[Resize, typer.Option(help="How a photo becomes the input.")] = Resize.STRETCH,
    scaling: Annotated[
        ScalingChoice, typer.Option(help="What a float input expects; auto: metadata, graph, else [-1, 1].")
    ] = ScalingChoice.AUTO,
    output: Annotated[
        OutputChoice, typer.Option(help="What the outputs are; auto: found by running it.")
    ] = OutputChoice.AUTO,
    review_threshold: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Confidence under which a prediction is marked for review.")
    ] = 0.5,
) -> None:
    """Wrap a TensorFlow Lite classifier and its labels file into a proven bundle.

    Example: bucketlens model import --tflite mobilenet.tflite --labels labels.txt --golden photos --out bundles/mob
    """
    _require_interpreter()
    from classifier.imaging import ResizePolicy
    from model_build.importing import ImportRequest, import_model

    request = ImportRequest(tflite, labels, name, golden, ResizePolicy(resize.value), scaling, output, review_threshold)
    console = display.messages()
    manifest = import_model(request, out, say=lambda message: console.print(message, markup=False))
    console.print(f"written and proven: {out} ({len(manifest.labels)} labels)", markup=False)
    typer.echo(manifest.version)


@app.command()
def publish(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    to: Annotated[str, typer.Option("--to", help="Model location: s3://bucket/models/")],
    no_promote: Annotated[bool, typer.Option("--no-promote", help="Upload only; do not make it live.")] = False,
    dry_run: DryRunOption = False,
) -> None:
    """Prove a bundle, upload it as an immutable version, and make that the live one.

    Example: bucketlens model publish bundles/digits --to s3://my-bucket/models/
    """
    _require_interpreter()
    from model_build.publish import publish_bundle

    done = publish_bundle(bundle, to, _s3(), promote=not no_promote, dry_run=dry_run)
    console = display.messages()
    would = "would upload" if dry_run else "uploaded"
    console.print(f"{would} {len(done.uploaded)} files, {len(done.present)} already there", markup=False)
    if done.promoted:
        console.print("would be live" if dry_run else "live", markup=False)
    typer.echo(done.version)


@app.command()
def promote(
    version: Annotated[str, typer.Argument(help="A published version.")], at: AtOption, dry_run: DryRunOption = False
) -> None:
    """Make a published version the live one.

    Example: bucketlens model promote 20261120T101500Z-5d313724 --at s3://my-bucket/models/
    """
    from model_build import releases

    before = releases.promote(version, at, _s3(), dry_run=dry_run)
    told = f"{'would be live' if dry_run else 'live'}; before: {before.version or 'none'}"
    display.messages().print(told, markup=False)
    typer.echo(version)


@app.command()
def rollback(at: AtOption, dry_run: DryRunOption = False) -> None:
    """Make the version live that was live before the present one. Twice goes two versions back.

    Example: bucketlens model rollback --at s3://my-bucket/models/
    """
    from model_build import releases

    left, version = releases.rollback(at, _s3(), dry_run=dry_run)
    display.messages().print(f"{'would leave' if dry_run else 'left'} {left}", markup=False)
    typer.echo(version)


@app.command()
def versions(
    at: AtOption, format_: Annotated[Format, typer.Option("--format", help="table or json")] = Format.TABLE
) -> None:
    """List the published versions, newest first, and which is live.

    Example: bucketlens model versions --at s3://my-bucket/models/
    """
    from model_build import releases

    found = releases.versions(at, _s3())
    if format_ is Format.JSON:
        typer.echo(json.dumps([asdict(one) for one in found]))
    elif found:
        display.results().print(display.versions_table(found))
    else:
        display.messages().print(f"nothing is published at {at}", markup=False)


def _require_interpreter() -> None:
    """Raises UserError where no interpreter is installed: querying results needs none, so it is an extra."""
    if not (find_spec("ai_edge_litert") or find_spec("tflite_runtime")):
        raise UserError("this command needs the 'build' extra; install it with: pip install 'bucketlens[build]'")


def _s3() -> S3Client:
    """An S3 client for this environment; botocore reads AWS_ENDPOINT_URL itself."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3", config=Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "max_attempts": 4})
    )
