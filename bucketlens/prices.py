"""What AWS charges, in one place: US dollars, on-demand, without any free tier or discount for volume.

Sources: https://aws.amazon.com/lambda/pricing/, https://aws.amazon.com/sqs/pricing/, https://aws.amazon.com/s3/pricing/,
https://aws.amazon.com/dynamodb/pricing/on-demand/, https://aws.amazon.com/cloudwatch/pricing/,
https://aws.amazon.com/eventbridge/pricing/.
"""

from __future__ import annotations

AS_OF = "November 2025"
REGION = "us-east-1"
ARCHITECTURE = "x86_64"

LAMBDA_GB_SECOND = 0.0000166667
"""Of INIT, too, since 1 August 2025: https://aws.amazon.com/blogs/compute/aws-lambda-standardizes-billing-for-init-phase/."""
LAMBDA_REQUEST = 0.20e-6
SQS_REQUEST = 0.40e-6
S3_WRITE = 5.0e-6
"""A PUT, COPY, POST or LIST request."""
S3_READ = 0.4e-6
DYNAMODB_WRITE = 0.625e-6
"""A write request unit: 1 KB."""
DYNAMODB_READ = 0.125e-6
"""A read request unit: 4 KB, strongly consistent."""
LOGS_BYTE = 0.50 / 2**30
"""Taken in by CloudWatch Logs, standard class, first tier of Lambda's logs."""
EVENTBRIDGE_EVENT = 1.0e-6
"""A custom event, each 64 KB of it."""
