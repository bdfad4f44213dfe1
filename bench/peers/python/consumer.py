"""Receives 10, then puts and deletes one by one."""

import os
from datetime import datetime, timezone

import boto3

ENVIRONMENT = os.environ["ENVIRONMENT"]

ssm = boto3.client("ssm")
sqs = boto3.client("sqs")
dynamodb = boto3.client("dynamodb")


def parameter(name):
    return ssm.get_parameter(Name=f"/{ENVIRONMENT}/{name}")["Parameter"]["Value"]


def store(table, message):
    attributes = message["MessageAttributes"]
    dynamodb.put_item(
        TableName=table,
        Item={
            "tenant_id": {"S": attributes["tenant_id"]["StringValue"]},
            "message_id": {"S": message["MessageId"]},
            "producer_environment": {"S": attributes["producer_environment"]["StringValue"]},
            "consumer_environment": {"S": ENVIRONMENT},
            "timestamp": {"S": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S+0000")},
        },
    )


def main():
    table = parameter("consumer_ddb").rsplit("/", 1)[-1]
    queue = sqs.get_queue_url(QueueName=parameter("consumer_sqs").rsplit(":", 1)[-1])["QueueUrl"]
    while True:
        received = sqs.receive_message(
            QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=20, MessageAttributeNames=["All"]
        )
        for message in received.get("Messages", []):
            store(table, message)
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


if __name__ == "__main__":
    main()
