"""``bucketlens results drift``: whether the model still sees what it was made for."""

from __future__ import annotations

from typing import Annotated

import boto3
import typer
from rich.table import Table

from bucketlens import results
from bucketlens.cli import display
from bucketlens.cli.display import TableOrJson
from bucketlens.cli.results import StackOption
from bucketlens.escaping import json_text, printable
from bucketlens.stability import Baseline
from bucketlens.stack import DEFAULT_STACK, Stack, clients, endpoint_url

_LABELS_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(drift)


def drift(
    days: Annotated[int, typer.Option(min=1, help="Compare the results of this many days, today included.")] = 7,
    baseline: Annotated[
        Baseline, typer.Option(help="Compare with what; auto: model, else first-week.")
    ] = Baseline.AUTO,
    model_version: Annotated[
        str | None, typer.Option(help="Results of this version (default: that of the newest result).")
    ] = None,
    put_metric: Annotated[
        bool, typer.Option("--put-metric", help="Send LabelDrift and ConfidenceDrift to CloudWatch, for the dashboard.")
    ] = False,
    format_: Annotated[TableOrJson, typer.Option("--format", help="table or json")] = TableOrJson.TABLE,
    stack: StackOption = DEFAULT_STACK,
) -> None:
    """Compare labels and confidence of the last days with the model's validation photos. Reads the whole table.

    The population stability index (PSI) says how far they have moved: under 0.1 is stable, over 0.25 a large shift.

    Example: bucketlens results drift --days 7
    """
    from bucketlens.drift import manifest_mix, tally

    deployed = Stack.find(stack)
    s3, dynamodb = clients()
    with display.progress_bar(display.messages()) as bar:
        items = bar.track(results.find(dynamodb, deployed.table, results.Query()), description="reading results")
        counted = tally(items)
    found = counted.drift(
        lambda version: manifest_mix(s3, deployed.model_uri, version),
        days=days,
        version=model_version,
        baseline=baseline,
    )
    if put_metric:
        boto3.client("cloudwatch", endpoint_url=endpoint_url()).put_metric_data(**found.metrics(stack))
    if format_ is TableOrJson.JSON:
        typer.echo(json_text(found.to_document()))
        return
    console = display.results()
    for name, one in (("labels", found.labels), ("confidence", found.confidence)):
        chance = f"; up to {one.chance:.3f} may be chance" if one.chance >= 0.1 else ""
        console.print(f"{name:<10}  PSI {one.index:.3f}  {one.verdict}{chance}", markup=False)
    table = Table("label", "baseline", "now", title="shares of labels that changed most", title_justify="left")
    for share in found.shares[:_LABELS_SHOWN]:
        table.add_row(printable(share.label), f"{share.expected:.1%}", f"{share.actual:.1%}")
    display.print_table(table)
    display.messages().print(
        f"{found.actual.answers:,} results of model {found.model_version} in {days} days, against {found.baseline}"
        f" ({found.expected.answers:,} images)",
        markup=False,
    )
