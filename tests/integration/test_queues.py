"""What a queue is said to hold."""

from __future__ import annotations

import boto3

from bucketlens.queues import waiting


def test_messages_sent_with_a_delay_are_waiting_too(moto_url: str) -> None:
    sqs = boto3.session.Session().client("sqs", endpoint_url=moto_url)
    url = sqs.create_queue(QueueName="delayed")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="now")
    sqs.send_message(QueueUrl=url, MessageBody="in a minute", DelaySeconds=60)
    assert waiting(sqs, url) == 2
    sqs.delete_queue(QueueUrl=url)
    sqs.close()
