"""From the bucket to the function: who may send, how often a message is tried, and where it ends."""

from __future__ import annotations

from tests.template.checks.parameters import VALUES
from tests.template.document import Template

BUCKET_ARN = "arn:aws:s3:::{}"
DAY = 86400


def check_what_is_created_and_if_wanted_deleted_under_the_input_prefix_is_announced(template: Template) -> None:
    created, removed = ["s3:ObjectCreated:*"], ["s3:ObjectRemoved:*", "s3:LifecycleExpiration:*"]
    for parameters, events in (({}, created), ({"RemoveDeleted": "true"}, created + removed)):
        bucket = template.properties("S3::Bucket", "Bucket", InputPrefix="drop/here/", **parameters)
        assert bucket["NotificationConfiguration"] == {
            "QueueConfigurations": [
                {
                    "Event": event,
                    "Queue": "<Queue.Arn>",
                    "Filter": {"S3Key": {"Rules": [{"Name": "prefix", "Value": "drop/here/"}]}},
                }
                for event in events
            ]
        }


def check_the_bucket_waits_for_the_policy_that_admits_it(template: Template) -> None:
    # S3 tests the queue when the notification is made.
    assert template.source["Resources"]["Bucket"]["DependsOn"] == "QueuePolicy"


def check_the_queue_admits_this_bucket_of_this_account_alone(template: Template) -> None:
    for name in ("", "my-own-bucket"):
        bucket = template.properties("S3::Bucket", "Bucket", BucketName=name)["BucketName"]
        policy = template.properties("SQS::QueuePolicy", "QueuePolicy", BucketName=name)
        assert policy["Queues"] == ["<Queue>"]
        (allow,) = (one for one in policy["PolicyDocument"]["Statement"] if one["Effect"] == "Allow")
        assert {key: value for key, value in allow.items() if key != "Sid"} == {
            "Effect": "Allow",
            "Principal": {"Service": "s3.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": "<Queue.Arn>",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": "123456789012"},
                "ArnEquals": {"aws:SourceArn": BUCKET_ARN.format(bucket)},
            },
        }


def check_queues_are_encrypted(template: Template) -> None:
    for name in ("Queue", "DeadLetterQueue"):
        assert template.properties("SQS::Queue", name)["SqsManagedSseEnabled"] is True


def check_a_message_stays_hidden_for_six_timeouts_and_the_longest_window(template: Template) -> None:
    # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    window = template.source["Parameters"]["BatchWindowSeconds"]["MaxValue"]
    for timeout in VALUES["Timeout"][0]:
        visibility = template.properties("SQS::Queue", "Queue", Timeout=timeout)["VisibilityTimeout"]
        assert visibility == 6 * int(timeout) + window


def check_five_tries_then_the_dead_letter_queue(template: Template) -> None:
    queue = template.properties("SQS::Queue", "Queue")
    assert queue["RedrivePolicy"] == {"deadLetterTargetArn": "<DeadLetterQueue.Arn>", "maxReceiveCount": 5}
    assert "RedrivePolicy" not in template.properties("SQS::Queue", "DeadLetterQueue")


def check_the_dead_letter_queue_keeps_messages_for_long_after_the_queue(template: Template) -> None:
    # A message keeps the time at which it was first queued.
    queue = template.properties("SQS::Queue", "Queue")["MessageRetentionPeriod"]
    dead = template.properties("SQS::Queue", "DeadLetterQueue")["MessageRetentionPeriod"]
    assert queue == 4 * DAY
    assert dead == 14 * DAY


def check_messages_fail_one_by_one_and_concurrency_is_bounded(template: Template) -> None:
    parameters = {"BatchSize": "7", "BatchWindowSeconds": "3", "MaximumConcurrency": "9"}
    mapping = template.properties("Lambda::EventSourceMapping", "ClassifierFunctionImages", **parameters)
    assert mapping == {
        "FunctionName": "<ClassifierFunction>",
        "EventSourceArn": "<Queue.Arn>",
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "BatchSize": "7",
        "MaximumBatchingWindowInSeconds": "3",
        "ScalingConfig": {"MaximumConcurrency": "9"},
    }
    # Reserved concurrency throttles receives, and each throttled receive counts as a try.
    assert "ReservedConcurrentExecutions" not in template.properties("Lambda::Function", "ClassifierFunction")
