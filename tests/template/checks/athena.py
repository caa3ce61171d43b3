"""The table for Athena: there on demand, and its columns are the fields of a result document."""

from __future__ import annotations

import re
from typing import Any

from classifier.model import Prediction
from classifier.records import ImageFacts, ModelIdentity, Rejection, Result, ReviewReason
from tests.template.checks.bucket_and_table import BUCKET
from tests.template.document import Template

DATABASE = {"AthenaDatabase": "images"}
_MODEL = ModelIdentity("m", "v", "0" * 64)
_TIMING = {"fetch": 1.5, "decode": 1.5, "predict": 1.5}
_WHEN = "2026-11-20T12:00:00.123Z"
DOCUMENTS = (
    Result(
        ImageFacts("b", "k", "v", "e", 7, "JPEG", 3, 2),
        _MODEL,
        _WHEN,
        "r",
        (Prediction("a", 0.5),),
        ("a",),
        0.99,
        ReviewReason.NOVELTY,
        timing_ms=_TIMING,
    ).to_document(),
    Result(ImageFacts("b", "k"), _MODEL, _WHEN, "r", error=Rejection("image.corrupt", "broken")).to_document(),
)
_SCALARS = {str: {"string"}, bool: {"boolean"}, int: {"int", "bigint"}, float: {"double"}}


def properties(template: Template) -> dict[str, Any]:
    return template.properties("Glue::Table", "AthenaResultsTable", **DATABASE)


def columns(template: Template) -> dict[str, str]:
    described = properties(template)["TableInput"]["StorageDescriptor"]["Columns"]
    assert all(column.keys() == {"Name", "Type"} for column in described)
    return {column["Name"]: column["Type"] for column in described}


def fields(struct: str) -> dict[str, str]:
    """``struct<a:int,b:array<string>>`` by name: ``{"a": "int", "b": "array<string>"}``."""
    found = re.fullmatch(r"struct<(.*)>", struct)
    assert found is not None, struct
    parts, depth, start = [], 0, 0
    inside = found[1]
    for place, character in enumerate(f"{inside},"):
        depth += (character == "<") - (character == ">")
        if character == "," and depth == 0:
            parts.append(inside[start:place])
            start = place + 1
    return dict(part.split(":", 1) for part in parts)


def misfit(value: Any, kind: str, where: str) -> list[str]:
    """What of a JSON value a Hive type does not hold."""
    if value is None:
        return []
    if isinstance(value, dict):
        inside = fields(kind)
        return [
            problem
            for name, one in value.items()
            for problem in (misfit(one, inside[name], f"{where}.{name}") if name in inside else [f"{where}.{name}"])
        ]
    if isinstance(value, list):
        assert kind.startswith("array<"), where
        return [problem for one in value for problem in misfit(one, kind[len("array<") : -1], where)]
    return [] if kind in _SCALARS[type(value)] else [f"{where} is no {kind}"]


def check_every_field_of_a_result_has_a_column(template: Template) -> None:
    described = columns(template)
    assert described.keys() == DOCUMENTS[0].keys() | DOCUMENTS[1].keys()
    struct = "struct<" + ",".join(f"{name}:{kind}" for name, kind in described.items()) + ">"
    for document in DOCUMENTS:
        assert misfit(document, struct, "document") == []


def check_no_column_is_a_field_that_no_result_has(template: Template) -> None:
    described = columns(template)
    for document in DOCUMENTS:
        for name, value in document.items():
            if isinstance(value, dict) and value:
                assert fields(described[name]).keys() == value.keys(), name
    # A size may be over 2 GB, a side may not.
    assert fields(described["image"])["size_bytes"] == "bigint"
    assert {fields(described["image"])[side] for side in ("width", "height")} == {"int"}
    (top,) = DOCUMENTS[0]["prediction"]["top"]
    assert fields(fields(described["prediction"])["top"][len("array<") : -1]).keys() == top.keys()


def check_partitions_are_the_days_of_the_json_lines(template: Template) -> None:
    where = {**DATABASE, "OutputPrefix": "out/"}
    table = template.properties("Glue::Table", "AthenaResultsTable", **where)
    assert (table["CatalogId"], table["DatabaseName"]) == ("123456789012", "<AthenaResultsDatabase>")
    described = table["TableInput"]
    assert described["Description"]
    assert (described["Name"], described["TableType"]) == ("results", "EXTERNAL_TABLE")
    assert described["PartitionKeys"] == [{"Name": "dt", "Type": "string"}]
    assert described["Parameters"] == {
        "EXTERNAL": "TRUE",
        "classification": "json",
        "projection.enabled": "true",
        "projection.dt.type": "date",
        "projection.dt.format": "yyyy-MM-dd",
        "projection.dt.range": "2025-01-01,NOW",
        "projection.dt.interval": "1",
        "projection.dt.interval.unit": "DAYS",
        "storage.location.template": f"s3://{BUCKET}/out/dt=${{dt}}/",
    }
    storage = described["StorageDescriptor"]
    assert {name: value for name, value in storage.items() if name != "Columns"} == {
        "Location": f"s3://{BUCKET}/out/",
        "InputFormat": "org.apache.hadoop.mapred.TextInputFormat",
        "OutputFormat": "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
        "SerdeInfo": {"SerializationLibrary": "org.openx.data.jsonserde.JsonSerDe"},
    }


def check_the_database_is_there_on_demand(template: Template) -> None:
    database = template.properties("Glue::Database", "AthenaResultsDatabase", **DATABASE)
    assert database["CatalogId"] == "123456789012"
    assert database["DatabaseInput"]["Name"] == "images"
    assert database["DatabaseInput"]["Description"]
    for parameters, table in (({}, "none"), (DATABASE, "<AthenaResultsTable>")):
        tags = template.properties("DynamoDB::Table", "Table", **parameters)["Tags"]
        assert tags == [{"Key": "athena-table", "Value": table}]
    assert not {"AthenaResultsDatabase", "AthenaResultsTable"} & template.resources().keys()
