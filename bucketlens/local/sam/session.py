"""One run of sam-local or image-test: build, endpoints, fixtures, every event, verdict."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from bucketlens.local.emulator import Emulator
from bucketlens.local.files import CHECKOUT, TEMPLATE
from bucketlens.local.sam.cases import Case, Oracle, photos_case, read_cases
from bucketlens.local.sam.container import function_environment, running, serve_problems
from bucketlens.local.sam.docker import Docker
from bucketlens.local.sam.invoke import (
    FUNCTION,
    EmulatorInvoker,
    Invoker,
    SamInvoker,
    build,
    check_sample_variables,
    write_variables,
)
from bucketlens.local.sam.tool import find_sam, sam_environment
from bucketlens.local.sam.verdict import Records, lines_of, problems_of
from bucketlens.local.stack import LocalStack
from classifier.errors import BucketlensError, UserError
from classifier.settings import Settings
from model_build.bundles.publish import publish_bundle

_VARIABLES = CHECKOUT / "events" / "env.local.json"


@dataclass(frozen=True)
class Options:
    """What to run.

    Attributes:
        events: None is every event of `events/`.
        images: files for the keys that the events name, by file name.
        photos: a folder of which every file is classified as well.
        docker: True fails without Docker, False does without; None falls back on the emulator.
        invoke_options: more options of `sam local invoke`.
        log_folder: takes what the function writes in the emulator.
    """

    events: list[Path] | None
    bundle: Path
    images: Path
    photos: Path | None
    docker: bool | None
    invoke_options: tuple[str, ...]
    log_folder: Path


@dataclass(frozen=True)
class _Stage:
    """The local stack with a published bundle, and what is to be run on it."""

    stack: LocalStack
    cases: list[Case]
    records: Records


def run_session(options: Options, console: Console) -> int:
    """Build with SAM and run the events; return the number of problems found.

    Raises:
        BucketlensError: it could not be tried at all.
    """
    tool = find_sam(CHECKOUT, os.environ)
    environment = sam_environment(os.environ, tool)
    with _timed("sam build", console):
        package = build(tool, CHECKOUT, environment)
    with contextlib.ExitStack() as ending:
        work = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="bucketlens-sam-")))
        docker = None if options.docker is False else _docker(environment, options, console)
        stage = _set_up(ending, work, docker, options, console)
        if docker is not None:
            variables = write_variables(work / "env.json", stage.stack.settings)
            invoker: Invoker = SamInvoker(tool, package, variables, docker, options.invoke_options)
        else:
            invoker = EmulatorInvoker(ending.enter_context(_emulator(package, stage.stack, options.log_folder)))
        return _judge(stage.cases, invoker, stage.records, console)


def run_image_session(options: Options, image: str, console: Console) -> int:
    """Run the events in a container, then the HTTP API in another; return the number of problems found.

    Raises:
        BucketlensError: it could not be tried at all.
    """
    docker = Docker(dict(os.environ))
    docker.require()
    with contextlib.ExitStack() as ending:
        work = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="bucketlens-image-")))
        stage = _set_up(ending, work, docker, options, console)
        function = stage.stack.deployment.function
        environment = function_environment(stage.stack.settings, function.timeout_seconds, function.memory_mb)
        with running(docker, image, environment=environment) as container:
            count = _judge(stage.cases, container, stage.records, console)
            problems = container.health_problems()
        problems += serve_problems(docker, image, options.bundle, stage.cases, stage.records)
    for problem in problems:
        console.print(problem, style="red", markup=False, highlight=False)
    if not problems:
        console.print("serve: the same results over HTTP, without AWS and not as root", style="green")
    return count + len(problems)


def _set_up(
    ending: contextlib.ExitStack, work: Path, docker: Docker | None, options: Options, console: Console
) -> _Stage:
    oracle = Oracle(options.bundle)
    # No event source: the only invocations are ours.
    host = docker.gateway() if docker else "127.0.0.1"
    stack = ending.enter_context(LocalStack(TEMPLATE, host=host, port=0, event_source=False))
    check_sample_variables(_VARIABLES, stack.settings)
    settings = Settings.from_environment(stack.settings)
    records = _publish(stack, settings, options.bundle, console)
    cases = read_cases(options.events or _sample_events(), options.images, oracle)
    if options.photos is not None:
        cases.append(photos_case(options.photos, settings.model_uri.bucket, work, oracle))
    return _Stage(stack, cases, records)


def _docker(environment: dict[str, str], options: Options, console: Console) -> Docker | None:
    docker = Docker(environment)
    try:
        docker.require()
    except UserError as error:
        if options.docker:
            raise
        message = f"{error}.\n\n`sam local invoke` is NOT tested. The same events run under the Lambda emulator."
        console.print(Panel(message, title="NO DOCKER", style="bold red"))
        return None
    return docker


def _sample_events() -> list[Path]:
    return sorted(path for path in _VARIABLES.parent.glob("*.json") if path != _VARIABLES)


def _publish(stack: LocalStack, settings: Settings, bundle: Path, console: Console) -> Records:
    publish_bundle(bundle, str(settings.model_uri), stack.aws.s3)
    console.print(f"Published {bundle.name} to {settings.model_uri}", highlight=False)
    return Records(stack.aws.s3, stack.aws.dynamodb, settings.table_name, settings.output_prefix)


@contextlib.contextmanager
def _emulator(package: Path, stack: LocalStack, log_folder: Path) -> Iterator[Emulator]:
    # The package is compiled for 3.13; any other Python takes the source, and its own packages.
    folder = package / FUNCTION if sys.version_info[:2] == (3, 13) else CHECKOUT / "functions"
    function, log = stack.deployment.function, log_folder / "sam-local.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    emulator = Emulator(folder, stack.settings, function.timeout_seconds, function.memory_mb, log=log)
    emulator.start()
    try:
        yield emulator
    finally:
        emulator.stop()


def _judge(cases: list[Case], invoker: Invoker, records: Records, console: Console) -> int:
    table = Table("event", "image", "outcome", "confidence", "seconds")
    count = 0
    for case in cases:
        records.prepare(case)
        began = time.monotonic()
        try:
            problems = problems_of(case, invoker.invoke(case), records)
        except BucketlensError as error:
            problems = [str(error)]
        seconds = f"{time.monotonic() - began:.1f}"
        console.print(f"[red]FAIL[/] {case.name}" if problems else f"[green]ok[/] {case.name}", highlight=False)
        for problem in problems:
            console.print(f"  {problem}", style="red", markup=False, highlight=False)
        count += len(problems)
        rows = [(line.image, line.outcome, line.confidence) for line in lines_of(case, records)] or [
            ("", "no image", "")
        ]
        for number, row in enumerate(rows):
            table.add_row("" if number else case.name, *row, "" if number else seconds)
    console.print(table)
    summary = f"{len(cases)} events, " + (f"{count} problems" if count else "all as expected")
    console.print(summary, style="red" if count else "green", highlight=False)
    return count


@contextlib.contextmanager
def _timed(what: str, console: Console) -> Iterator[None]:
    began = time.monotonic()
    yield
    console.print(f"{what}: {time.monotonic() - began:.1f} s", style="dim", highlight=False)
