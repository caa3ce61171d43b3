"""Wherever the template is broken, one of the checks fails.

Every node of every section is removed, and every value changed, one at a time. What no check notices must be listed
here with the reason why it breaks no promise. Beside these stand mistakes of other kinds: added rights, swapped limits,
a second event.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
from samtranslator.model.exceptions import InvalidDocumentException

from classifier.errors import ConfigError
from tests.template.checks import CHECKS
from tests.template.document import Template, read_source
from tests.template.mutations import Path, mutations

pytestmark = pytest.mark.slow

SOURCE = read_source()
PARTS: list[Path] = [(section,) for section in SOURCE if section != "Resources"]
PARTS += [("Resources", name) for name in SOURCE["Resources"]]
# A check fails by its assertion, or because it does not find what it looks at, or finds conditions that go in a circle.
FAILURES = (
    *(AssertionError, LookupError, TypeError, ValueError, AttributeError, RecursionError),
    *(InvalidDocumentException, ConfigError),
)

# Patterns of mutations that may go unnoticed -> why.
SURVIVORS = {
    r"(.*/)?\w*Description: -> .*": "the wording of a text for people",
    r"Metadata/.*/Label/default: -> .*": "the wording of a text for people",
    r".*/comment: -> .*": "the wording of a text for people",
    r".*/Sid: -> .*": "a label, on which nothing depends",
    r".*/PolicyName: -> .*": "a label, on which nothing depends",
    r".*/LifecycleConfiguration/Rules/0/Id: .*": "a label, on which nothing depends",
    # Checkov itself fails without it: test_checkov_finds_nothing_and_needs_every_suppression.
    r".*/Metadata(/checkov.*)?: delete": "a suppression that is missing makes Checkov fail",
}


def is_noticed(source: dict[str, Any]) -> bool:
    template = Template(source)
    for check in CHECKS:
        try:
            check(template)
        except FAILURES:
            return True
    return False


def test_the_template_itself_passes() -> None:
    assert not is_noticed(copy.deepcopy(SOURCE))


@pytest.mark.parametrize("part", PARTS, ids="/".join)
def test_a_change_anywhere_is_noticed(part: Path) -> None:
    unnoticed = [str(mutation) for mutation in mutations(SOURCE, part) if not is_noticed(mutation.applied(SOURCE))]
    assert [one for one in unnoticed if not any(re.fullmatch(pattern, one) for pattern in SURVIVORS)] == []


def test_every_survivor_is_one() -> None:
    """A pattern that stands for no mutation at all, or only for noticed ones, is out of date."""
    every = [mutation for part in PARTS for mutation in mutations(SOURCE, part)]
    for pattern in SURVIVORS:
        matching = [mutation for mutation in every if re.fullmatch(pattern, str(mutation))]
        assert any(not is_noticed(mutation.applied(SOURCE)) for mutation in matching), pattern


def _role(resources: dict[str, Any]) -> list[Any]:
    statements: list[Any] = resources["ClassifierRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    return statements


def _grant(resources: dict[str, Any], action: str, resource: Any) -> None:
    _role(resources).append({"Sid": "More", "Effect": "Allow", "Action": action, "Resource": resource})


# Mistakes that add or combine -> what they do to the template's resources.
CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "may write models": lambda r: _grant(r, "s3:PutObject", {"Fn::Sub": "${Bucket.Arn}/${ModelPrefix}*"}),
    "may write images": lambda r: _grant(r, "s3:PutObject", {"Fn::Sub": "${Bucket.Arn}/${InputPrefix}*"}),
    "may delete predictions": lambda r: _grant(r, "s3:DeleteObject", {"Fn::Sub": "${Bucket.Arn}/${OutputPrefix}*"}),
    "may do anything to the table": lambda r: _grant(r, "dynamodb:*", {"Fn::GetAtt": ["Table", "Arn"]}),
    "may use every key": lambda r: _grant(r, "kms:Decrypt", "*"),
    "has a managed policy": lambda r: r["ClassifierRole"]["Properties"].update(
        ManagedPolicyArns=["arn:aws:iam::aws:policy/service-role/AWSLambdaSQSQueueExecutionRole"]
    ),
    "has a second policy": lambda r: r["ClassifierRole"]["Properties"]["Policies"].append(
        copy.deepcopy(r["ClassifierRole"]["Properties"]["Policies"][0])
    ),
    "gets a role of SAM's": lambda r: r["ClassifierFunction"]["Properties"].update(
        Role=None, Policies=["AWSLambdaBasicExecutionRole"]
    ),
    "the role is anyone's": lambda r: r["ClassifierRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"][
        0
    ].update(Principal="*"),
    "the bucket is readable by all": lambda r: r["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"].append(
        {
            "Sid": "All",
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": {"Fn::Sub": "${Bucket.Arn}/${OutputPrefix}*"},
        }
    ),
    "anybody's bucket may send": lambda r: r["QueuePolicy"]["Properties"]["PolicyDocument"]["Statement"][0].pop(
        "Condition"
    ),
    "deleted objects are announced": lambda r: r["Bucket"]["Properties"]["NotificationConfiguration"][
        "QueueConfigurations"
    ].append({"Event": "s3:ObjectRemoved:*", "Queue": {"Fn::GetAtt": ["Queue", "Arn"]}}),
    "events of the whole bucket": lambda r: r["Bucket"]["Properties"]["NotificationConfiguration"][
        "QueueConfigurations"
    ][0].pop("Filter"),
    "images expire": lambda r: r["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"][0].update(
        ExpirationInDays=30
    ),
    "concurrency is reserved": lambda r: r["ClassifierFunction"]["Properties"].update(ReservedConcurrentExecutions=5),
    "the function is also invoked by a schedule": lambda r: r["ClassifierFunction"]["Properties"]["Events"].update(
        More={"Type": "Schedule", "Properties": {"Schedule": "rate(1 minute)"}}
    ),
    "provisioned capacity": lambda r: r["Table"]["Properties"].update(BillingMode="PROVISIONED"),
    "the table is kept when its creation fails": lambda r: r["Table"].update(DeletionPolicy="Retain"),
    "the table goes with the stack": lambda r: r["Table"].update(DeletionPolicy="Delete"),
    "the table is created before the function": lambda r: (
        r["Table"]["DependsOn"].remove("ClassifierFunctionImages"),
        r["ClassifierFunction"]["Properties"]["Environment"]["Variables"].update(TABLE_NAME={"Ref": "Table"}),
    ),
    "another table is written": lambda r: r["Table"]["Properties"].update(TableName="other"),
    "the dead-letter queue forgets first": lambda r: r["DeadLetterQueue"]["Properties"].update(
        MessageRetentionPeriod=345600
    ),
    "three tries": lambda r: r["Queue"]["Properties"]["RedrivePolicy"].update(maxReceiveCount=3),
    "an hour of waiting is an alarm": lambda r: r["BacklogAlarm"]["Properties"].update(Threshold=3600),
    "no data is an alarm": lambda r: r["BacklogAlarm"]["Properties"].update(TreatMissingData="breaching"),
    "errors are counted by the day": lambda r: r["FunctionErrorAlarm"]["Properties"].update(Period=86400),
    "the API may write predictions": lambda r: r["ApiRole"]["Properties"]["Policies"][0]["PolicyDocument"][
        "Statement"
    ].append(
        {
            "Sid": "More",
            "Effect": "Allow",
            "Action": "s3:PutObject",
            "Resource": {"Fn::Sub": "${Bucket.Arn}/${OutputPrefix}*"},
        }
    ),
    "anyone may predict": lambda r: r["PredictRoute"]["Properties"].update(AuthorizationType="NONE"),
    "a route more": lambda r: r.update(MoreRoute=copy.deepcopy(r["PageRoute"])),
    "pages of every origin": lambda r: r["Api"]["Properties"].update(CorsConfiguration={"AllowOrigins": ["*"]}),
    "any API invokes the function": lambda r: r["ApiPermission"]["Properties"].pop("SourceArn"),
    "a secret in the environment": lambda r: r["ClassifierFunction"]["Properties"]["Environment"]["Variables"].update(
        API_KEY="secret"
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_mistake_is_noticed(change: Callable[[dict[str, Any]], object]) -> None:
    source = copy.deepcopy(SOURCE)
    change(source["Resources"])
    assert is_noticed(source)


@pytest.mark.parametrize(
    ("parameter", "rules"),
    [
        ("ModelVersion", {"AllowedPattern": r"^$|^[A-Za-z0-9][A-Za-z0-9._-]*$"}),
        ("ModelVersion", {"AllowedPattern": ".*"}),
        ("InputPrefix", {"AllowedPattern": "^.+/$"}),
        ("OutputPrefix", {"AllowedPattern": "^[a-z/]*$"}),
        ("ReviewThreshold", {"AllowedPattern": r"^[0-9.]*$"}),
        ("KmsKeyArn", {"AllowedPattern": "^$|^arn:.*$"}),
        ("MemorySize", {"MinValue": 128}),
        ("MaxImageBytes", {"MaxValue": 5368709120}),
        ("MaxImagePixels", {"MaxValue": 1000000000}),
        ("BatchWindowSeconds", {"MaxValue": 300}),
        ("Timeout", {"AllowedValues": ["30", "60", "120", "180", "300", "600", "900", "870"]}),
        ("DeletionProtection", {"Default": "false"}),
    ],
)
def test_a_looser_parameter_is_noticed(parameter: str, rules: dict[str, Any]) -> None:
    source = copy.deepcopy(SOURCE)
    source["Parameters"][parameter].update(rules)
    assert is_noticed(source)


def test_a_visibility_timeout_of_five_timeouts_is_noticed() -> None:
    source = copy.deepcopy(SOURCE)
    for timeout, mapped in source["Mappings"]["VisibilityTimeout"].items():
        mapped["Seconds"] = 5 * int(timeout) + 60
    assert is_noticed(source)
