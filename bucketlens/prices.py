"""What AWS charges, in one place: US dollars, on-demand, us-east-1, x86-64, without any free tier; as of November 2025.

Sources: https://aws.amazon.com/lambda/pricing/, https://aws.amazon.com/sqs/pricing/, https://aws.amazon.com/s3/pricing/,
https://aws.amazon.com/dynamodb/pricing/on-demand/.
"""

from __future__ import annotations

LAMBDA_GB_SECOND = 0.0000166667
LAMBDA_REQUEST = 0.20e-6
SQS_REQUEST = 0.40e-6
S3_WRITE = 5.0e-6
"""A PUT, COPY, POST or LIST request."""
S3_READ = 0.4e-6
DYNAMODB_WRITE = 0.625e-6
"""A write request unit: 1 KB."""
DYNAMODB_READ = 0.125e-6
"""A read request unit: 4 KB, strongly consistent."""
