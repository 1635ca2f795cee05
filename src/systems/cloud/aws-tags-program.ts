/**
 * A program of its own: `aws-tags.cjs REGION INSTANCE` asks EC2 for the instance's tags and prints `{"tags": {…}}`, or `{"error": "…"}`
 * and ends with 1. The SDK finds its credentials, those of the instance's role, and signs. Nothing of them is printed: of an error,
 * only what a person can act on.
 */
import { DescribeTagsCommand, EC2Client } from '@aws-sdk/client-ec2';

/** Short: the parent's deadline is for all attempts together. */
const connectionTimeoutMs = 2000;
const requestTimeoutMs = 5000;

async function readTags(region: string, instanceId: string): Promise<Record<string, string>> {
  const client = new EC2Client({
    region,
    maxAttempts: 2,
    requestHandler: { connectionTimeout: connectionTimeoutMs, requestTimeout: requestTimeoutMs },
  });
  const answer = await client.send(
    new DescribeTagsCommand({ Filters: [{ Name: 'resource-id', Values: [instanceId] }] }),
  );
  const pairs = (answer.Tags ?? []).flatMap(({ Key, Value }) =>
    Key === undefined ? [] : [[Key, Value ?? '']],
  );
  return Object.fromEntries(pairs);
}

/** What is wrong and what to do, from the error's name: its message may hold more than belongs into a log. */
function explain(error: unknown): string {
  const name = error instanceof Error ? error.name.replace(/[^A-Za-z0-9.]/g, '').slice(0, 64) : 'unknown';
  switch (name) {
    case 'UnauthorizedOperation':
    case 'AccessDenied':
      return "the instance's role may not call ec2:DescribeTags: allow it, or switch on tags in instance metadata";
    case 'CredentialsProviderError':
      return 'the instance has no role: give it an instance profile that allows ec2:DescribeTags, or switch on tags in instance metadata';
    case 'TimeoutError':
      return 'no answer in time: is there a way to it, an internet gateway or a VPC endpoint?';
    default:
      return `it refuses or cannot be reached (${name})`;
  }
}

const [region = '', instanceId = ''] = process.argv.slice(2);
readTags(region, instanceId).then(
  (tags) => process.stdout.write(JSON.stringify({ tags })),
  (error: unknown) => {
    process.stdout.write(JSON.stringify({ error: explain(error) }));
    process.exitCode = 1;
  },
);
