"""``bucketlens cost``: what classifying images costs on AWS, how long it takes, and which limit binds first."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.table import Table

from bucketlens import prices
from bucketlens.cli import display
from bucketlens.cli.display import TableOrJson
from bucketlens.cost import TYPICAL_KEY_BYTES, Term, terms, write_units
from bucketlens.escaping import json_text
from bucketlens.measured import MeasuredUsage, Usage
from bucketlens.throughput import MEGABYTES_PER_VCPU, Forecast, Job
from classifier.errors import UserError

_MILLION = 1_000_000
_SIZES_OF_JOBS = (_MILLION, 100 * _MILLION)
_SWEEP = (512, 768, 1024, 1280, 1536, MEGABYTES_PER_VCPU, 2048, 2654, 3538)
_SIZE = re.compile(r"([1-9]\d{0,5})x([1-9]\d{0,5})")


class Mode(StrEnum):
    """The template's OutputMode."""

    IMAGE = "image"
    JSONL = "jsonl"


def cost(
    images: Annotated[int, typer.Option(min=1, help="How many images.")] = _MILLION,
    size: Annotated[str, typer.Option(metavar="WIDTHxHEIGHT", help="Pixels of an image, a JPEG.")] = "1920x1440",
    mode: Annotated[Mode, typer.Option(help="OutputMode of the stack.")] = Mode.IMAGE,
    memory: Annotated[int, typer.Option(metavar="MB", min=512, max=10240, help="MemorySize.")] = Job.memory,
    batch: Annotated[int, typer.Option(min=1, max=1000, help="BatchSize; batches are taken to be full.")] = Job.batch,
    concurrency: Annotated[int, typer.Option(min=2, max=1000, help="MaximumConcurrency.")] = Job.concurrency,
    cpu_ms: Annotated[
        float | None, typer.Option(min=0.1, help="Processor time an image, milliseconds (default: as measured).")
    ] = None,
    key_bytes: Annotated[int, typer.Option(min=10, max=1024, help="Length of the images' keys.")] = TYPICAL_KEY_BYTES,
    attention: Annotated[
        float, typer.Option(min=0, max=1, help="Share of images that are rejected or to be reviewed.")
    ] = Job.attention,
    largest_label: Annotated[
        float, typer.Option(min=0.001, max=1, help="Share of the most frequent label.")
    ] = Job.largest_label,
    prefixes: Annotated[
        int, typer.Option(min=1, help="Prefixes over which the images are spread evenly.")
    ] = Job.prefixes,
    table_writes: Annotated[
        int, typer.Option(min=1, help="Write units a second of the table (default: of a new one).")
    ] = Job.table_writes,
    publish_events: Annotated[bool, typer.Option("--publish-events", help="PublishEvents is on.")] = False,
    sweep: Annotated[bool, typer.Option("--sweep", help="Compare settings of MemorySize instead.")] = False,
    format_: Annotated[TableOrJson, typer.Option("--format", help="table or json")] = TableOrJson.TABLE,
) -> None:
    """Say what images cost on AWS, how long they take, and which limit binds first. Asks AWS nothing.

    From measured processor time and list prices, for images that lie in the queue. What costs by the month (storage,
    metrics, alarms) is not counted.

    Example: bucketlens cost --images 1000000 --size 640x480 --mode jsonl
    """
    measured = MeasuredUsage.load()
    usage = measured.of(_pixels(size), mode)
    if cpu_ms is not None:
        usage = replace(usage, cpu_ms=cpu_ms, worker_ms=max(0.0, cpu_ms - (usage.cpu_ms - usage.worker_ms)))
    job = Job(
        images=images,
        mode=mode,
        memory=memory,
        batch=batch,
        concurrency=concurrency,
        write_units=write_units(key_bytes, mode),
        attention=attention,
        largest_label=largest_label,
        prefixes=prefixes,
        table_writes=table_writes,
    )
    forecast = Forecast(job, usage, measured.start_cpu_ms / 1000)
    bill = terms(forecast, key_bytes=key_bytes, publish_events=publish_events)
    if sweep:
        _show_sweep(_swept(forecast, key_bytes, publish_events), format_)
    elif format_ is TableOrJson.JSON:
        typer.echo(json_text(_document(forecast, bill, measured, size)))
    else:
        _show(forecast, bill)
        display.messages().print(_sources(measured, usage), markup=False)


def _pixels(size: str) -> int:
    found = _SIZE.fullmatch(size)
    if found is None:
        raise UserError(f"--size {size} is not a width and a height in pixels, such as 1920x1440")
    return int(found[1]) * int(found[2])


def _show(forecast: Forecast, bill: list[Term]) -> None:
    images = forecast.job.images
    console = display.results()
    table = _table("", "quantity", "USD a million", "USD")
    for one in bill:
        each, quantity = one.dollars / images * _MILLION, f"{one.quantity:,.{0 if one.quantity >= 100 else 2}f}"
        table.add_row(one.name, f"{quantity} {one.unit}", f"{each:,.3f}", f"{one.dollars:,.2f}")
    total = sum(one.dollars for one in bill)
    table.add_section()
    table.add_row("total", f"{images:,} images", f"{total / images * _MILLION:,.3f}", f"{total:,.2f}")
    display.print_table(table)
    limits = _table("limit", "images/s", "raised by")
    limits.columns[2].justify, limits.columns[2].no_wrap = "left", False
    for limit in forecast.limits:
        limits.add_row(limit.name, f"{limit.images_per_second:,.0f}", limit.remedy)
    display.print_table(limits)
    for at in _forecasts(forecast):
        console.print(
            f"{at.job.images:,} images: {display.duration(at.seconds)}, {at.functions:,} functions at once, bound by"
            f" {at.bound_by}",
            markup=False,
            soft_wrap=True,
        )
    useful = forecast.useful_concurrency
    if useful < forecast.job.concurrency:
        console.print(f"MaximumConcurrency over {useful} waits for {forecast.limits[0].name}", markup=False)


def _forecasts(forecast: Forecast) -> list[Forecast]:
    counts = sorted({forecast.job.images, *_SIZES_OF_JOBS})
    return [replace(forecast, job=replace(forecast.job, images=count)) for count in counts]


def _sources(measured: MeasuredUsage, usage: Usage) -> str:
    return (
        f"{usage.cpu_ms:.1f} ms of processor time an image; measured {measured.measured_at[:10]}, commit"
        f" {measured.commit}: {measured.model}; {measured.machine}. Prices: {prices.REGION}, {prices.AS_OF}."
    )


def _document(forecast: Forecast, bill: list[Term], measured: MeasuredUsage, size: str) -> dict[str, Any]:
    total = sum(one.dollars for one in bill)
    return {
        "job": {"size": size, **asdict(forecast.job)},
        "dollars": total,
        "dollars_per_million": total / forecast.job.images * _MILLION,
        "terms": [asdict(one) for one in bill],
        "invocation_seconds": forecast.invocation_seconds,
        "limits": [asdict(one) for one in forecast.limits],
        "useful_concurrency": forecast.useful_concurrency,
        "times": [
            {
                "images": one.job.images,
                "seconds": one.seconds,
                "functions": one.functions,
                "bound_by": one.bound_by,
            }
            for one in _forecasts(forecast)
        ],
        "usage": asdict(forecast.usage),
        "measured": {name: getattr(measured, name) for name in ("commit", "measured_at", "machine", "model")},
        "prices": {"region": prices.REGION, "architecture": prices.ARCHITECTURE, "as_of": prices.AS_OF},
    }


def _swept(forecast: Forecast, key_bytes: int, publish_events: bool) -> list[dict[str, float]]:
    rows = []
    for memory in _SWEEP:
        one = replace(forecast, job=replace(forecast.job, memory=memory))
        bill = terms(one, key_bytes=key_bytes, publish_events=publish_events)
        each = _MILLION / one.job.images
        rows.append(
            {
                "memory": memory,
                "vcpus": memory / MEGABYTES_PER_VCPU,
                "invocation_seconds": one.invocation_seconds,
                "images_per_second": one.function_rate,
                "lambda_dollars_per_million": each * sum(t.dollars for t in bill if t.name.startswith("Lambda")),
                "dollars_per_million": each * sum(t.dollars for t in bill),
                "seconds": one.seconds,
            }
        )
    return rows


def _show_sweep(rows: list[dict[str, float]], format_: TableOrJson) -> None:
    if format_ is TableOrJson.JSON:
        typer.echo(json_text(rows))
        return
    table = _table("MB", "vCPU", "ms/batch", "images/s", "USD a million", "of it Lambda", "time")
    for row in rows:
        table.add_row(
            f"{row['memory']:,.0f}",
            f"{row['vcpus']:.2f}",
            f"{row['invocation_seconds'] * 1000:,.0f}",
            f"{row['images_per_second']:.1f}",
            f"{row['dollars_per_million']:.2f}",
            f"{row['lambda_dollars_per_million']:.2f}",
            display.duration(row["seconds"]),
        )
    display.print_table(table)


def _table(*columns: str) -> Table:
    table = Table()
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    return table


def register(app: typer.Typer) -> None:
    """Make the command one of ``app``."""
    app.command()(cost)
