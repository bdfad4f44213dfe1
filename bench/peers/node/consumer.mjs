// sqs-consumer as its documentation shows it, ten messages per receive.
import { DynamoDBClient, PutItemCommand } from '@aws-sdk/client-dynamodb';
import { GetQueueUrlCommand, SQSClient } from '@aws-sdk/client-sqs';
import { Consumer } from 'sqs-consumer';
import { nameOf, parameter } from './aws.mjs';

const environment = process.env.ENVIRONMENT;
const sqs = new SQSClient({});
const dynamodb = new DynamoDBClient({});
const table = nameOf(await parameter('consumer_ddb'));
const { QueueUrl } = await sqs.send(new GetQueueUrlCommand({ QueueName: nameOf(await parameter('consumer_sqs')) }));

const consumer = Consumer.create({
  queueUrl: QueueUrl,
  sqs,
  batchSize: 10,
  waitTimeSeconds: 20,
  messageAttributeNames: ['All'],
  handleMessage: async (message) => {
    const attribute = (name) => ({ S: message.MessageAttributes[name].StringValue });
    await dynamodb.send(new PutItemCommand({
      TableName: table,
      Item: {
        tenant_id: attribute('tenant_id'),
        message_id: attribute('message_id'),
        producer_environment: attribute('producer_environment'),
        consumer_environment: { S: environment },
        timestamp: { S: new Date().toISOString() },
      },
    }));
    return message;
  },
});
consumer.on('error', () => {});
consumer.on('processing_error', () => {});
consumer.start();
