// One SendMessage per POST.
import { GetQueueUrlCommand, SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import express from 'express';
import { randomUUID } from 'node:crypto';
import { nameOf, parameter } from './aws.mjs';

const environment = process.env.ENVIRONMENT;
const sqs = new SQSClient({});
const queue = nameOf(await parameter('consumer_sqs'));
const { QueueUrl } = await sqs.send(new GetQueueUrlCommand({ QueueName: queue }));
const text = (value) => ({ DataType: 'String', StringValue: value });
const identity = { microservice: 'producer', version: '0.0.1' };

const app = express();
app.use(express.text({ type: '*/*' }));

app.get('/producer', (request, response) => {
  response.json({ environment, tenant_id: request.get('tenantID') ?? null, ...identity });
});

app.post('/producer', async (request, response) => {
  const tenant = request.get('tenantID');
  const id = randomUUID();
  await sqs.send(new SendMessageCommand({
    QueueUrl,
    MessageBody: request.body,
    MessageGroupId: tenant,
    MessageAttributes: { tenant_id: text(tenant), producer_environment: text(environment), message_id: text(id) },
  }));
  response.json({ environment, message_id: id, tenant_id: tenant, ...identity });
});

app.listen(Number(process.env.PORT), '127.0.0.1');
