/**
 * A stand-in for AWS' instance metadata service, version 2 only: `imds.ts ADDRESS [FACTS_JSON]`.
 * As the real one: a token by PUT with a TTL header, 401 without a valid token, 404 for a fact the instance has not,
 * 403 for a token request that came through a proxy. FACTS_JSON replaces facts by path; null takes one away.
 */
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';

const [address = '169.254.169.254', overrides = '{}'] = process.argv.slice(2);

const facts = new Map<string, string>(
  Object.entries({
    'meta-data/instance-id': 'i-0123456789abcdef0',
    'meta-data/instance-type': 't3.small',
    'meta-data/local-ipv4': '10.99.0.2',
    'meta-data/public-ipv4': '203.0.113.17',
    'meta-data/placement/region': 'eu-central-1',
    'meta-data/placement/availability-zone': 'eu-central-1a',
    'meta-data/mac': '02:00:00:00:00:02',
    'meta-data/network/interfaces/macs/02:00:00:00:00:02/public-ipv4s': '203.0.113.17',
  }),
);
const changes: unknown = JSON.parse(overrides);
for (const [path, value] of Object.entries(typeof changes === 'object' && changes !== null ? changes : {})) {
  if (value === null) facts.delete(path);
  else facts.set(path, String(value));
}

/** Token to the end of its life, on the monotonic clock. */
const tokens = new Map<string, number>();

const server = createServer((request, response) => {
  const answer = (status: number, body: string, headers: Record<string, string> = {}) => {
    response.writeHead(status, { 'content-type': 'text/plain', server: 'EC2ws', ...headers });
    response.end(body);
  };
  const path = (request.url ?? '').replace(/^\/latest\//, '').replace(/\/$/, '');
  if (path === 'api/token') {
    const ttl = Number(request.headers['x-aws-ec2-metadata-token-ttl-seconds'] ?? Number.NaN);
    if (request.method !== 'PUT') return answer(405, '');
    if (request.headers['x-forwarded-for'] !== undefined) return answer(403, '');
    if (!Number.isInteger(ttl) || ttl < 1 || ttl > 21_600) return answer(400, '');
    const token = randomBytes(40).toString('base64');
    tokens.set(token, performance.now() + ttl * 1000);
    return answer(200, token, { 'x-aws-ec2-metadata-token-ttl-seconds': String(ttl) });
  }
  const token = request.headers['x-aws-ec2-metadata-token'];
  const ends = typeof token === 'string' ? tokens.get(token) : undefined;
  if (ends === undefined || ends < performance.now()) return answer(401, '');
  const fact = facts.get(path);
  if (fact !== undefined) return answer(200, fact);
  const below = [...facts.keys()].filter((key) => key.startsWith(`${path}/`));
  const listed = new Set(below.map((key) => key.slice(path.length + 1).replace(/\/.*$/, '/')));
  return listed.size > 0 ? answer(200, [...listed].join('\n')) : answer(404, '');
});
server.listen(80, address);
