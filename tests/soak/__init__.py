"""Deterministic simulation of the whole application: S3, SQS, Lambda and DynamoDB around the function's own code.

One integer seeds one *schedule*: which objects are put, overwritten and deleted, which notifications repeat and
overtake each other, which calls fail or lose their answer, when processes are killed. Time is virtual and one activity
runs at a time, so that a seed always gives the same run (the method of FoundationDB's and TigerBeetle's simulators).

    make soak                                  20 minutes on every core
    python -m tests.soak --replay SEED         one schedule, step by step
"""
