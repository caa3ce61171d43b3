"""``bucketlens model publish`` and what follows it: promote, rollback, versions."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import model_build
from bucketlens.cli import display
from bucketlens.cli.display import TableOrJson
from bucketlens.cli.model import AtOption, DryRunOption, require_interpreter
from bucketlens.stack import DEFAULT_STACK
from classifier.errors import UserError

if TYPE_CHECKING:
    from bucketlens.rollout import Rollout

WaitOption = Annotated[
    bool, typer.Option("--wait", help="Return when the functions of --stack classify with it; fail if they do not.")
]
StackOption = Annotated[
    str,
    typer.Option(envvar="BUCKETLENS_STACK", help="CloudFormation stack whose functions --wait asks (AWS or local)."),
]


def publish(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    to: AtOption = "",
    no_promote: Annotated[bool, typer.Option("--no-promote", help="Upload only; do not make it live.")] = False,
    dry_run: DryRunOption = False,
    minimum_accuracy: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Minimum test accuracy (default: half-way from chance to 1)."),
    ] = None,
    recall_floor: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Minimum recall of every class on the test photos.")
    ] = 0.5,
    margin: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Accuracy that it may lose against the live version, 0 to 1.")
    ] = 0.01,
    data: Annotated[
        Path | None, typer.Option("--data", help="Where the bundle's test photos are now, if they have been moved.")
    ] = None,
    force: Annotated[
        str | None, typer.Option("--force", help="Publish although the gate refuses it; the reason is kept in S3.")
    ] = None,
    wait: WaitOption = False,
    stack: StackOption = DEFAULT_STACK,
) -> None:
    """Verify a bundle, run it through the gate, upload it as an immutable version, and make that the live one.

    The gate: golden test, tensor parity, minimum accuracy, recall of every class, the classes of the live version, not
    worse than it on the same test photos. A check that cannot be made says why, and does not fail
    the gate.

    Example: bucketlens model publish bundles/digits --to s3://my-bucket/models/
    """
    require_interpreter()
    if wait and no_promote:
        raise UserError("--wait waits until functions follow a promotion: leave it out, or leave out --no-promote")
    rollout = _rollout(wait, stack, to)
    with display.Screen(display.messages()).running() as screen:
        done = model_build.publish(
            bundle,
            to,
            promote=not no_promote,
            dry_run=dry_run,
            limits=model_build.GateLimits(minimum_accuracy, recall_floor, margin),
            data=data,
            force=force,
            watcher=screen,
        )
    console = display.messages()
    for line in display.gate_lines(done.verdict):
        console.print(line, markup=False)
    if not done.verdict.passed:
        console.print(f"published by force: {force}", markup=False)
    would = "would upload" if dry_run else "uploaded"
    console.print(f"{would} {len(done.uploaded)} files, {len(done.present)} already there", markup=False)
    if done.promoted:
        pointer = f"{to.rstrip('/')}/current.json"
        console.print(f"live: {pointer} {'would name it' if dry_run else 'names it'}", markup=False)
        if not dry_run:
            _wait_for(rollout, done.version)
    typer.echo(done.version)


def promote(
    version: Annotated[str, typer.Argument(help="A published version.")],
    at: AtOption = "",
    dry_run: DryRunOption = False,
    wait: WaitOption = False,
    stack: StackOption = DEFAULT_STACK,
) -> None:
    """Make a published version the live one.

    Example: bucketlens model promote 20261120T101500Z-5d313724 --at s3://my-bucket/models/
    """
    rollout = _rollout(wait, stack, at)
    before = model_build.promote(version, at, dry_run=dry_run)
    told = f"{'would be live' if dry_run else 'live'}; before: {before.version or 'none'}"
    display.messages().print(told, markup=False)
    if not dry_run:
        _wait_for(rollout, version)
    typer.echo(version)


def rollback(
    at: AtOption = "", dry_run: DryRunOption = False, wait: WaitOption = False, stack: StackOption = DEFAULT_STACK
) -> None:
    """Make the previously live version live again. Run it twice to go back two versions.

    Example: bucketlens model rollback --at s3://my-bucket/models/
    """
    rollout = _rollout(wait, stack, at)
    left, version = model_build.rollback(at, dry_run=dry_run)
    display.messages().print(f"{'would be live' if dry_run else 'live'}; before: {left}", markup=False)
    if not dry_run:
        _wait_for(rollout, version)
    typer.echo(version)


def versions(
    at: AtOption = "",
    format_: Annotated[TableOrJson, typer.Option("--format", help="table or json")] = TableOrJson.TABLE,
) -> None:
    """List the published versions, newest first, and which is live.

    Example: bucketlens model versions --at s3://my-bucket/models/
    """
    found = model_build.versions(at)
    if format_ is TableOrJson.JSON:
        typer.echo(json.dumps([asdict(one) for one in found]))
    elif found:
        display.print_table(display.versions_table(found))
    else:
        display.messages().print(f"nothing is published at {at}", markup=False)


def _rollout(wait: bool, stack: str, at: str) -> Rollout | None:
    """Found before anything is changed: what stands in the way of waiting is said at once."""
    if not wait:
        return None
    from bucketlens.rollout import Rollout

    return Rollout.of(stack, at)


def _wait_for(rollout: Rollout | None, version: str) -> None:
    from classifier.loader import CHECK_INTERVAL_SECONDS

    console = display.messages()
    if rollout is None:
        console.print(f"running functions follow within {CHECK_INTERVAL_SECONDS:.0f} s (--wait: until they have)")
        return
    with console.status(f"waiting until the functions of stack {rollout.name} follow: {CHECK_INTERVAL_SECONDS:.0f} s"):
        rollout.wait(version)
    console.print(f"every batch that begins from now on is classified by {version}", markup=False)


def register(app: typer.Typer) -> None:
    for command in (publish, promote, rollback, versions):
        app.command()(command)
