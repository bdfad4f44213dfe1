"""One Parameter Store look-up and one SendMessage per POST, in Flask's own server."""

import logging
import os

import boto3
from flask import Flask, jsonify, request

ENVIRONMENT = os.environ["ENVIRONMENT"]
IDENTITY = {"environment": ENVIRONMENT, "microservice": "producer", "version": "0.0.1"}

app = Flask(__name__)
ssm = boto3.client("ssm")
sqs = boto3.client("sqs")


def text(value):
    return {"DataType": "String", "StringValue": value}


def queue_name():
    arn = ssm.get_parameter(Name=f"/{ENVIRONMENT}/consumer_sqs")["Parameter"]["Value"]
    return arn.rsplit(":", 1)[-1]


QUEUE_URL = sqs.get_queue_url(QueueName=queue_name())["QueueUrl"].rsplit("/", 1)[0]


@app.get("/producer")
def identity():
    return jsonify(tenant_id=request.headers.get("tenantID"), **IDENTITY)


@app.post("/producer")
def accept():
    tenant = request.headers["tenantID"]
    sent = sqs.send_message(
        QueueUrl=f"{QUEUE_URL}/{queue_name()}",
        MessageBody=request.get_data(as_text=True),
        MessageAttributes={"tenant_id": text(tenant), "producer_environment": text(ENVIRONMENT)},
    )
    return jsonify(message_id=sent["MessageId"], tenant_id=tenant, **IDENTITY)


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app.run(host="127.0.0.1", port=int(os.environ["PORT"]), threaded=True)
