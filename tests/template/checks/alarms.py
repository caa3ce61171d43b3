"""Alarms: each goes off at the first sign, says what is true, and writes to the address that is given."""

from __future__ import annotations

from tests.template.document import FUNCTION, Template

EMAIL = "ops@example.org"
WITH_API = {"EnableApi": "true"}
DAY = 86400
# Metric, its dimension, statistic, period in seconds, and the value above which it goes off.
ALARMS = {
    "DeadLetterAlarm": (
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
        ("QueueName", "<DeadLetterQueue.QueueName>"),
        ("Maximum", 60, 0),
    ),
    "FunctionErrorAlarm": (("AWS/Lambda", "Errors"), ("FunctionName", f"<{FUNCTION}>"), ("Sum", 300, 0)),
    "ApiErrorAlarm": (("AWS/ApiGateway", "5xx"), ("ApiId", "<Api>"), ("Sum", 300, 0)),
    "BacklogAlarm": (
        ("AWS/SQS", "ApproximateAgeOfOldestMessage"),
        ("QueueName", "<Queue.QueueName>"),
        ("Maximum", 300, DAY),
    ),
}


def check_alarms_watch_failures_and_backlog(template: Template) -> None:
    found = {name for name, one in template.resources(**WITH_API).items() if one["Type"] == "AWS::CloudWatch::Alarm"}
    assert found == ALARMS.keys()
    for name, ((namespace, metric), (dimension, value), (statistic, period, threshold)) in ALARMS.items():
        alarm = template.properties("CloudWatch::Alarm", name, **WITH_API)
        assert {key: value for key, value in alarm.items() if key != "AlarmDescription"} == {
            "Namespace": namespace,
            "MetricName": metric,
            "Dimensions": [{"Name": dimension, "Value": value}],
            "Statistic": statistic,
            "Period": period,
            "EvaluationPeriods": 1,
            "Threshold": threshold,
            "ComparisonOperator": "GreaterThanThreshold",
            # An idle queue and an idle function have no data.
            "TreatMissingData": "notBreaching",
        }, name


def check_alarms_say_what_is_true(template: Template) -> None:
    queue = template.properties("SQS::Queue", "Queue")
    dead = template.properties("SQS::Queue", "DeadLetterQueue")
    texts = {name: template.properties("CloudWatch::Alarm", name, **WITH_API)["AlarmDescription"] for name in ALARMS}
    assert f"in {queue['RedrivePolicy']['maxReceiveCount']} tries" in texts["DeadLetterAlarm"]
    assert f"until {dead['MessageRetentionPeriod'] // DAY} days after" in texts["DeadLetterAlarm"]
    assert "waited 1 day" in texts["BacklogAlarm"]
    assert f"after {queue['MessageRetentionPeriod'] // DAY} days" in texts["BacklogAlarm"]
    assert "failed as a whole" in texts["FunctionErrorAlarm"]
    assert "5xx" in texts["ApiErrorAlarm"]


def check_alarms_write_to_the_address_that_is_given(template: Template) -> None:
    topic = template.properties("SNS::Topic", "AlarmTopic", AlarmEmail=EMAIL)
    assert topic == {"Subscription": [{"Protocol": "email", "Endpoint": EMAIL}]}
    for name in ALARMS:
        alarm = template.properties("CloudWatch::Alarm", name, AlarmEmail=EMAIL, **WITH_API)
        assert alarm["AlarmActions"] == alarm["OKActions"] == ["<AlarmTopic>"]
    assert not {"AlarmTopic", "AlarmTopicPolicy"} & template.resources().keys()


def check_only_the_alarms_of_this_account_use_the_topic(template: Template) -> None:
    policy = template.properties("SNS::TopicPolicy", "AlarmTopicPolicy", AlarmEmail=EMAIL)
    (allow,) = (one for one in policy["PolicyDocument"]["Statement"] if one["Effect"] == "Allow")
    assert {key: value for key, value in allow.items() if key != "Sid"} == {
        "Effect": "Allow",
        "Principal": {"Service": "cloudwatch.amazonaws.com"},
        "Action": "sns:Publish",
        "Resource": "<AlarmTopic>",
        "Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}},
    }
