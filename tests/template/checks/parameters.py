"""Parameters: safe defaults, bounds, and nonsense refused before anything is created."""

from __future__ import annotations

import itertools
import re

from classifier.bundle import VERSION_PATTERN
from tests.template.document import Template

VERSION = "20261120T101500Z-5d313724"
KEY = "arn:aws:kms:us-east-1:123456789012:key/0000"
PREFIXES = ("InputPrefix", "OutputPrefix", "ModelPrefix")
# Highest memory use of a decoder, the share of MemorySize that may be used, and Lambda's largest function.
BYTES_PER_PIXEL, USABLE_SHARE, LARGEST_MEMORY = 16, 0.8, 10240 * 2**20
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
RETENTION_DAYS = (
    1,
    3,
    5,
    7,
    14,
    30,
    60,
    90,
    120,
    150,
    180,
    365,
    400,
    545,
    731,
    1096,
    1827,
    2192,
    2557,
    2922,
    3288,
    3653,
)

_PREFIX = (
    ("incoming/", "team-a/day=2026-11-20/in.v1/"),
    ("", "incoming", "/", "/incoming/", "a//b/", "a*/", "a/ ", "a/b", "a?/", "ä/"),
)
# Parameter -> values that are accepted, and values that are not: of a range the first on either side of each end.
VALUES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "BucketName": (("", "my-own-bucket", "a1b"), ("No-Capitals", "s3://bucket", "ab", "-ab", "ab-", "a.b", "a" * 64)),
    "InputPrefix": _PREFIX,
    "OutputPrefix": _PREFIX,
    "ModelPrefix": _PREFIX,
    "ModelVersion": (
        ("", VERSION),
        ("a/b", "models/", "current", VERSION + "/", VERSION[:-1], VERSION + "0", VERSION.upper(), "20261120-5d313724"),
    ),
    "GoldenTest": (("true", "false"), ("", "yes", "True")),
    "TopK": (("1", "100"), ("0", "101", "five")),
    "ReviewThreshold": (("", "0", "0.5", "1", "1.0"), ("1.5", "-1", "1.01", ".5", "high")),
    "OutputMode": (("image", "jsonl"), ("", "csv")),
    "RemoveDeleted": (("true", "false"), ("", "yes")),
    "MaxImageBytes": (("1", "268435456"), ("0", "268435457")),
    "MaxImagePixels": (("1", "500000000"), ("0", "500000001")),
    "MemorySize": (("512", "10240"), ("511", "10241")),
    "Timeout": (("30", "60", "120", "180", "300", "600", "900"), ("0", "29", "121", "901")),
    "BatchSize": (("1", "1000"), ("0", "1001")),
    # Lambda refuses batches of more than ten messages without a window.
    "BatchWindowSeconds": (("1", "60"), ("0", "61")),
    "MaximumConcurrency": (("2", "1000"), ("1", "1001")),
    "Architecture": (("x86_64",), ("arm64", "")),
    "EnableApi": (("true", "false"), ("", "yes", "True")),
    "JwtIssuer": (
        ("", "https://example.org", "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab12"),
        ("http://example.org", "example.org", "https://example.org/a b", "https://a@example.org", "https://"),
    ),
    "JwtAudience": (("", "client-1", "https://api.example.org/"), ("a b", "a,b", " ")),
    "ApiRateLimit": (("1", "10000"), ("0", "10001")),
    "ApiBurstLimit": (("1", "5000"), ("0", "5001")),
    "CorsOrigin": (
        ("", "https://app.example.org", "http://localhost:8000"),
        ("*", "app.example.org", "https://app.example.org/", "https://a.org,https://b.org", "https://a.org:x"),
    ),
    "AllowUrlFetch": (("true", "false"), ("", "yes")),
    "AlarmEmail": (("", "ops@example.org"), ("nobody", "a@b", "a b@example.org", "a@example.org b")),
    "LogLevel": (("DEBUG", "INFO", "WARNING", "ERROR"), ("LOUD", "", "info")),
    "LogRetentionDays": (tuple(map(str, RETENTION_DAYS)), ("0", "2", "9999")),
    "KmsKeyArn": (
        ("", KEY, "arn:aws-cn:kms:cn-north-1:123456789012:key/0000"),
        ("alias/mine", KEY[:-4], "0000", KEY + "*"),
    ),
    "DeletionProtection": (("true", "false"), ("", "no")),
    "PublishEvents": (("true", "false"), ("", "yes")),
    "AthenaDatabase": (("", "images_2026", "a" * 128), ("Images", "my-images", "a b", "a" * 129)),
}
DEFAULTS = {
    "BucketName": "",
    "InputPrefix": "incoming/",
    "OutputPrefix": "predictions/",
    "ModelPrefix": "models/",
    "ModelVersion": "",
    "GoldenTest": "false",
    "TopK": "5",
    "ReviewThreshold": "",
    "OutputMode": "image",
    "RemoveDeleted": "false",
    "MaxImageBytes": "26214400",
    "MaxImagePixels": "64000000",
    "MemorySize": "1769",
    "Timeout": "120",
    "BatchSize": "20",
    "BatchWindowSeconds": "2",
    "MaximumConcurrency": "50",
    "Architecture": "x86_64",
    "EnableApi": "false",
    "JwtIssuer": "",
    "JwtAudience": "",
    "ApiRateLimit": "10",
    "ApiBurstLimit": "20",
    "CorsOrigin": "",
    "AllowUrlFetch": "false",
    "AlarmEmail": "",
    "LogLevel": "INFO",
    "LogRetentionDays": "30",
    "KmsKeyArn": "",
    "DeletionProtection": "true",
    "PublishEvents": "false",
    "AthenaDatabase": "",
}


def check_it_is_a_sam_template(template: Template) -> None:
    assert template.source["AWSTemplateFormatVersion"] == "2010-09-09"
    assert template.source["Transform"] == "AWS::Serverless-2016-10-31"
    assert "TensorFlow Lite" in template.source["Description"]


def check_every_parameter_has_its_default_which_it_allows(template: Template) -> None:
    parameters = template.source["Parameters"]
    assert {name: str(parameter["Default"]) for name, parameter in parameters.items()} == DEFAULTS
    for name, default in DEFAULTS.items():
        assert template.allows(name, default), name


def check_every_parameter_says_what_it_is_and_what_it_takes(template: Template) -> None:
    for name, parameter in template.source["Parameters"].items():
        assert len(parameter["Description"]) > 20, name
        # Without one CloudFormation shows the pattern.
        if "AllowedPattern" in parameter:
            assert parameter["ConstraintDescription"].startswith("must "), name


def check_parameters_take_what_is_meant_and_refuse_nonsense(template: Template) -> None:
    assert VALUES.keys() == template.source["Parameters"].keys()
    for name, (accepted, refused) in VALUES.items():
        assert [value for value in accepted if not template.allows(name, value)] == [], name
        assert [value for value in refused if template.allows(name, value)] == [], name
        choices = template.source["Parameters"][name].get("AllowedValues", accepted)
        assert tuple(map(str, choices)) == accepted, name


def check_a_mistyped_version_is_refused_when_it_is_deployed(template: Template) -> None:
    pattern = template.source["Parameters"]["ModelVersion"]["AllowedPattern"]
    assert pattern.replace("[0-9]", r"\d") == f"^$|^{VERSION_PATTERN.pattern}$"


def check_no_limit_asks_for_more_memory_than_lambda_has(template: Template) -> None:
    parameters = template.source["Parameters"]
    assert parameters["MaxImagePixels"]["MaxValue"] * BYTES_PER_PIXEL <= USABLE_SHARE * LARGEST_MEMORY
    assert (
        parameters["MaxImageBytes"]["Default"]
        < parameters["MaxImageBytes"]["MaxValue"]
        < parameters["MemorySize"]["MinValue"] * 2**20
    )


def check_every_suppressed_rule_of_checkov_has_a_reason(template: Template) -> None:
    for name, resource in template.source["Resources"].items():
        for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", []):
            assert re.fullmatch(r"CKV_AWS_\d+", skip["id"]), name
            assert len(skip["comment"]) > 40, name


def check_every_parameter_is_in_one_group(template: Template) -> None:
    groups = template.source["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert sorted(name for group in groups for name in group["Parameters"]) == sorted(template.source["Parameters"])
    assert all(group["Label"]["default"] for group in groups)


def check_equal_prefixes_are_refused(template: Template) -> None:
    assert template.refused_by_rules() == []
    for first, second in itertools.combinations(PREFIXES, 2):
        assert template.refused_by_rules(**{first: "same/", second: "same/"}) == [f"{first} and {second} must differ."]


def check_an_issuer_has_an_audience(template: Template) -> None:
    issuer, audience = {"JwtIssuer": "https://example.org"}, {"JwtAudience": "client-1"}
    assert template.refused_by_rules(**issuer, **audience) == []
    assert template.refused_by_rules(**issuer) == ["JwtIssuer needs JwtAudience."]
    assert template.refused_by_rules(**audience) == ["JwtAudience needs JwtIssuer."]
