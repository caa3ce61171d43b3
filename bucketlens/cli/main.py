"""``bucketlens``: assembles the commands and turns every expected error into one line and an exit code."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, NoCredentialsError, NoRegionError
from rich.console import Console

from bucketlens.cli import (
    cost,
    dlq,
    doctor,
    drift,
    evaluate,
    export,
    gallery,
    inspect,
    local,
    model,
    predict,
    publish,
    reconcile,
    results,
    review,
    train_job,
    tune,
)
from bucketlens.escaping import printable
from classifier.errors import BucketlensError
from model_build.choices import EXTRAS

app = typer.Typer(
    name="bucketlens",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bucketlens {version('bucketlens')}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Batch image classification on AWS Lambda: models, results, and the whole application on one machine."""


inspect.register(model.app)
doctor.register(model.app)
evaluate.register(model.app)
publish.register(model.app)
tune.register(model.app)
train_job.register(model.app)
gallery.register(results.app)
drift.register(results.app)
review.register(results.app)
export.register(results.app)
app.add_typer(model.app, name="model")
app.add_typer(local.app, name="local")
app.add_typer(results.app, name="results")
predict.register(app)
reconcile.register(app)
cost.register(app)
app.add_typer(dlq.app, name="dlq")


def main() -> None:
    """The console script."""
    run(app)


def run(command: typer.Typer) -> NoReturn:
    """Run a command line to its exit: 0 on success alone, 1 for an error of ours or of AWS, 2 for wrong usage."""
    try:
        command()  # exits itself, also for wrong usage and Ctrl-C
    except BucketlensError as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("bucketlens", "classifier", "model_build"):
            raise
        _fail(missing(error.name))
    except (BotoCoreError, ClientError) as error:
        _fail(explain(error))
    sys.exit(0)


def missing(module: str) -> str:
    """One line for a package that is not installed: querying results needs few, so the others are extras."""
    return f"{module} is not installed; {EXTRAS}"


def explain(error: BotoCoreError | ClientError) -> str:
    """One line for an error of the SDK: what went wrong, and what to do where that is known."""
    if isinstance(error, NoCredentialsError):
        return (
            "no AWS credentials: run `aws configure` or set AWS_PROFILE, or use the local stack: "
            'eval "$(bucketlens local env)"'
        )
    if isinstance(error, NoRegionError):
        return (
            "no AWS region: set AWS_REGION, or a region in your AWS profile; for the local stack:"
            ' eval "$(bucketlens local env)"'
        )
    if isinstance(error, EndpointConnectionError):
        return f"{error} Check the network, or whether the local stack runs (bucketlens local up)."
    if isinstance(error, ClientError):
        detail = error.response["Error"]
        return f"AWS refuses {error.operation_name}: {detail.get('Code')}: {detail.get('Message', '')}".rstrip(": ")
    return " ".join(str(error).split())


def _fail(message: str) -> NoReturn:
    # A message may quote a key; its own line breaks stay.
    shown = "\n".join(map(printable, message.split("\n")))
    Console(stderr=True).print(f"error: {shown}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
