"""``bucketlens model``: from a folder of photos, or a ready ``.tflite``, to a published model."""

from __future__ import annotations

from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bucketlens.cli import display
from bucketlens.cli.data import local_data
from classifier.errors import UserError
from model_build.choices import OutputChoice, QuantizationChoice, ScalingChoice
from model_build.extras import EXTRAS

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


class Depth(StrEnum):
    """:data:`model_build.training.backbones.DEPTHS`."""

    NONE = "none"
    QUARTER = "quarter"
    HALF = "half"
    MOST = "most"
    ALL = "all"


class Optimizer(StrEnum):
    """:data:`model_build.training.config.OPTIMIZERS`."""

    ADAMW = "adamw"
    SGD = "sgd"


class TableOrJson(StrEnum):
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
    from model_build.data.sample_data import write_digits

    with display.Screen(display.messages()).running() as screen:
        screen.step("writing digits")
        counts = write_digits(out)
    display.messages().print(f"{sum(counts.values())} photos in {len(counts)} classes", markup=False)
    typer.echo(out)


@app.command()
def train(
    data: Annotated[
        str, typer.Argument(help="Folder with a folder per class, train/validation/test above is fine; or s3://...")
    ],
    out: Annotated[Path, typer.Option("--out", help="Run folder to write.")],
    backbone: Annotated[
        str | None, typer.Option(help="Network (default: the one that --weights fits, else small_cnn).")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="A .weights.h5 file to start from, in place of ImageNet's.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML or JSON with any settings; options win over it.")] = None,
    best_of: Annotated[str | None, typer.Option("--best-of", help="Take the settings of a study's best trial.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Width of mobilenet_v2 (default: the weights', else 1).")] = None,
    pretrained: Annotated[
        bool | None, typer.Option("--pretrained/--no-pretrained", help="Start from ImageNet weights or from nothing.")
    ] = None,
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

    A training that was killed goes on from its last completed epoch when the same command is given again.

    Example: bucketlens model train flowers --out runs/flowers --backbone mobilenet_v2
    """
    require_interpreter()
    from bucketlens.cli.diagnosis_table import diagnosis_table
    from model_build.diagnostics.observer import train_diagnosed
    from model_build.files import cache_folder
    from model_build.inspection.inspection import note
    from model_build.training.config import TrainingConfig
    from model_build.training.weights import told_by_weights

    if config and best_of:
        raise UserError("--config and --best-of both give the settings; leave one out")
    options = {
        "backbone": backbone,
        "alpha": alpha,
        "pretrained": pretrained,
        "fine_tune": fine_tune.value if fine_tune else None,
        "epochs": epochs,
        "batch_size": batch_size,
        "optimizer": optimizer.value if optimizer else None,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "dropout": dropout,
        "augmentation": augmentation,
        "image_size": image_size,
        "resize": resize.value if resize else None,
        "seed": seed,
    }
    found = None
    if best_of:
        from model_build.tuning.study_summary import best_of as look_up

        found = look_up(best_of)
        settings = found.config.overridden(options, "the options")
    else:
        if weights and not config:
            options |= told_by_weights(backbone, alpha or 0.0, weights)
        settings = TrainingConfig.composed(config, options)
    with display.Screen(display.messages()).running() as screen:
        folder = local_data(data, s3_client, screen)
        run, scores = train_diagnosed(settings, folder, out, weights=weights, watcher=screen)
        screen.step("inspecting photos")
        note(out, data, folder, cache_folder(), screen.progress)
    if found:
        found.note(out)
    console = display.results()
    console.print(f"validation accuracy  {run.record.validation['accuracy']:.4f}", markup=False)
    console.print(f"test accuracy        {display.accuracy_line(scores)}", markup=False)
    confusion = display.confusion_table(scores)
    if confusion is not None:
        console.print(confusion)
    messages = display.messages()
    messages.print(diagnosis_table(run.record.diagnostics))
    messages.print(f"written: {out}; next: bucketlens model convert {out}", markup=False)


@app.command()
def convert(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    data: DataOption = None,
    tolerance: Annotated[
        float, typer.Option(min=0.0, max=100.0, help="Points of validation accuracy a format may lose against float32.")
    ] = 0.5,
    target: Annotated[
        Path | None,
        typer.Option(help="Python (with numpy, Pillow and the interpreter) that will serve; default: this one."),
    ] = None,
) -> None:
    """Convert a run to float32, float16, dynamic range and int8, measure each where it will serve, choose the cheapest.

    Example: bucketlens model convert runs/digits
    """
    require_interpreter()
    from model_build.conversion.convert import convert as convert_run
    from model_build.training.run import Run

    opened = Run.open(run)
    with display.Screen(display.messages()).running() as screen:
        conversion = convert_run(
            opened,
            data=data,
            tolerance=tolerance / 100,
            python=target,
            on_step=screen.step,
            progress=screen.progress,
        )
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
    data: DataOption = None,
    precision: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Wanted of predictions that are not marked for review.")
    ] = 0.95,
    review_threshold: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Set the review threshold by hand instead.")
    ] = None,
) -> None:
    """Make a proven bundle: model, manifest, report and a few golden photos, copied from the test split.

    Example: bucketlens model package runs/digits --out bundles/digits
    """
    require_interpreter()
    from model_build.bundles.packaging import package as package_run
    from model_build.evaluation.gate import Evidence
    from model_build.training.run import Run

    opened = Run.open(run)
    with display.Screen(display.messages()).running() as screen:
        screen.step("packaging")
        manifest = package_run(
            opened,
            out,
            name=name,
            quantization=quantization,
            precision=precision,
            review_threshold=review_threshold,
            data=data,
            progress=screen.progress,
        )
    console = display.messages()
    evidence = Evidence.of(manifest)
    if evidence.review:
        console.print(evidence.review.statement, markup=False)
    for line in display.gate_lines(evidence.gate):
        console.print(line, markup=False)
    console.print(f"written and proven: {out} ({evidence.quantization})", markup=False)
    console.print(
        f"read {out / 'report.html'} before: bucketlens model publish {out} --to s3://BUCKET/models/", markup=False
    )
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
    require_interpreter()
    from classifier.imaging import ResizePolicy
    from model_build.bundles.importing import ImportRequest, import_model

    request = ImportRequest(tflite, labels, name, golden, ResizePolicy(resize.value), scaling, output, review_threshold)
    console = display.messages()
    manifest = import_model(request, out, say=lambda message: console.print(message, markup=False))
    console.print(f"written and proven: {out} ({len(manifest.labels)} labels)", markup=False)
    typer.echo(manifest.version)


def require_interpreter() -> None:
    """Raises UserError where no interpreter is installed: querying results needs none, so it is an extra."""
    if not (find_spec("ai_edge_litert") or find_spec("tflite_runtime")):
        raise UserError(f"this command needs the LiteRT interpreter, which is not installed; {EXTRAS}")


def s3_client() -> S3Client:
    """An S3 client for this environment; botocore reads AWS_ENDPOINT_URL itself."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3", config=Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "max_attempts": 4})
    )
