"""``bucketlens local``: the application on this machine, and the variables to reach it."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from bucketlens.local.constants import DEFAULT_HTTP_PORT, DEFAULT_PORT
from classifier.errors import UserError

if TYPE_CHECKING:
    from bucketlens.local.event_source import BatchReport
    from bucketlens.local.stack import LocalStack

app = typer.Typer(no_args_is_help=True, help="Run the application on this machine, without AWS and without Docker.")


@app.command()
def up(
    port: Annotated[int, typer.Option(help="Port of the endpoints.", min=0, max=65535)] = DEFAULT_PORT,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets containers reach it.")] = "127.0.0.1",
    http_port: Annotated[
        int | None,
        typer.Option(help=f"Port of the HTTP API; by default {DEFAULT_HTTP_PORT}, or a free one.", min=0, max=65535),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Functions that run in parallel (default: one per CPU).", min=1)
    ] = None,
    template: Annotated[
        Path | None, typer.Option(help="SAM template to create resources from (default: the project's own).")
    ] = None,
    parameter: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A parameter of the template; may be repeated.")
    ] = None,
    function_dir: Annotated[
        Path | None,
        typer.Option(help="The function's code, such as a built package (default: what the template names)."),
    ] = None,
    python: Annotated[Path | None, typer.Option(help="The Python that runs the function (default: this one).")] = None,
    retry_after: Annotated[
        int,
        typer.Option(
            metavar="SECONDS",
            help="Seconds until failed images are retried; on AWS, the queue's visibility timeout decides.",
            min=0,
            max=43200,
        ),
    ] = 30,
) -> None:
    """Start S3, SQS and DynamoDB on this machine and classify what is dropped into the bucket, until Ctrl-C.

    The resources are those of template.yaml; everything is in memory and gone afterwards.

    Example: bucketlens local up --port 5555
    """
    # Imported here: moto takes two seconds, which no other command should pay.
    from bucketlens.gallery.local import mount_gallery
    from bucketlens.local.files import TEMPLATE
    from bucketlens.local.rie import ensure_emulator
    from bucketlens.local.stack import LOG_FOLDER, LocalStack

    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, _interrupt)
    # A shell starts background jobs with SIGINT ignored; `kill -INT` shall end this one, too.
    signal.signal(signal.SIGINT, _interrupt)
    stack = LocalStack(
        template or TEMPLATE,
        host,
        port,
        http_port=_usual_http_port(host, port) if http_port is None else http_port,
        workers=workers,
        function_dir=function_dir,
        python=python,
        parameters=_parameters(parameter or []),
        retry_after_seconds=retry_after,
        report=lambda report: _show_batch(console, report),
    )
    try:
        ensure_emulator(lambda message: console.print(message, markup=False, highlight=False))
        with console.status("starting"):
            stack.start()
        _show_stack(console, stack, mount_gallery(stack), LOG_FOLDER, retry_after)
        # A signal that comes just before a wait begins is heard when it ends.
        while not stack.wait(timeout=1):
            continue
    except KeyboardInterrupt:
        console.print("stopping")
    finally:
        # Whoever presses Ctrl-C twice still gets everything stopped.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stack.stop()


@app.command()
def env(
    port: Annotated[int, typer.Option(help="Port of the running stack.", min=1, max=65535)] = DEFAULT_PORT,
) -> None:
    """Print the variables that point a shell, the AWS CLI and `bucketlens` at the local stack.

    Version 1 of the AWS CLI ignores them for one service: `aws sqs` needs --endpoint-url "$AWS_ENDPOINT_URL" as well.

    Example: eval "$(bucketlens local env)"
    """
    from bucketlens.local.shell import exports, variables

    typer.echo(exports(variables(f"http://127.0.0.1:{port}")), nl=False)


def _usual_http_port(host: str, port: int) -> int:
    """The HTTP API's usual port, or 0 for a free one where that is taken."""
    try:
        with socket.create_server((host, DEFAULT_HTTP_PORT)):
            return DEFAULT_HTTP_PORT if port != DEFAULT_HTTP_PORT else 0
    except OSError:
        return 0


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parameters(given: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    for name, equals, _ in pairs:
        if not (name and equals):
            raise UserError(f"--parameter {name} is not NAME=VALUE, such as --parameter TopK=3")
    return {name: value for name, _, value in pairs}


def _show_stack(console: Console, stack: LocalStack, gallery: str, log_folder: Path, retry_after: int) -> None:
    outputs = stack.deployment.outputs
    functions = "1 function" if stack.workers == 1 else f"{stack.workers} functions"
    port = stack.endpoint_url.rpartition(":")[2]
    option = "" if port == str(DEFAULT_PORT) else f" --port {port}"
    lines = {
        "endpoint": stack.endpoint_url,
        "bucket": stack.bucket,
        "queue": stack.queue_url,
        "table": stack.table,
        "gallery": f"{gallery} (the results, to look at in a browser)",
        **({"http": f"{stack.http_url} (classifies one image; open it in a browser)"} if stack.http_url else {}),
        "function": f"{functions}, batches of {stack.deployment.event_source.batch_size}, logs in {log_folder}",
        "retries": f"failed images after {retry_after} s (on AWS after the queue's visibility timeout)",
    }
    for name, value in lines.items():
        console.print(f"[bold]{name:<9}[/] {escape(value)}", soft_wrap=True, highlight=False)
    if not stack.model_is_published():
        console.print("[yellow]No model is published yet: images fail until one is.[/] After the first line below:")
        publish = f"bucketlens model publish BUNDLE --to {outputs['ModelUri']}"
        console.print(f"  {escape(publish)}", soft_wrap=True, highlight=False)
    console.print("\nNow, in another shell:", highlight=False)
    for command in (
        f'eval "$(bucketlens local env{option})"',
        f"aws s3 cp photo.jpg {outputs['InputUri']}",
        f"bucketlens results get {outputs['InputUri']}photo.jpg",
    ):
        console.print(f"  {escape(command)}", soft_wrap=True, highlight=False)
    console.print("\nCtrl-C stops it; everything is in memory and is lost.\n", highlight=False)


def _show_batch(console: Console, report: BatchReport) -> None:
    messages = "1 message" if report.messages == 1 else f"{report.messages} messages"
    colour = "red" if report.failed else "green"
    line = f"{messages}, [{colour}]{report.failed} failed[/], {report.seconds:.2f} s"
    if report.error is not None:
        line += f": {escape(str(report.error))}"
    console.print(line, soft_wrap=True, highlight=False)
    for subject in report.given_up:
        console.print(
            f"[red]failed for the last time, moves to the dead-letter queue:[/] {escape(subject)}",
            soft_wrap=True,
            highlight=False,
        )
