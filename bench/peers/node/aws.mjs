// AWS access of both programs. Endpoint and credentials come from the SDK's own variables.
import { SSMClient, GetParameterCommand } from '@aws-sdk/client-ssm';

const ssm = new SSMClient({});

/** The value of a parameter of this environment. */
export async function parameter(name) {
  const { Parameter } = await ssm.send(new GetParameterCommand({ Name: `/${process.env.ENVIRONMENT}/${name}` }));
  return Parameter.Value;
}

/** The last part of an ARN. */
export const nameOf = (arn) => arn.split(/[:/]/).at(-1);
