/**
 * AWS, version 2 only: a session token by PUT with a TTL header, 401 without a valid one, 404 for a fact that the instance has not, 403
 * for a token request that came through a proxy. Tags are not there unless the instance was told to show them.
 */
import { randomBytes } from 'node:crypto';
import {
  type Changes,
  changed,
  type Instance,
  type MetadataAnswer,
  type MetadataService,
  notFound,
} from './service.ts';

const mac = 'network/interfaces/macs/02:00:00:00:00:02';

function factsOf({ publicIpv4, publicIpv6, tags, showsTags, role }: Instance): ReadonlyMap<string, string> {
  const facts: Record<string, string | undefined> = {
    'instance-id': 'i-0123456789abcdef0',
    'instance-type': 't3.small',
    'local-ipv4': '10.99.0.2',
    'public-ipv4': publicIpv4,
    ipv6: publicIpv6,
    'placement/region': 'eu-central-1',
    'placement/availability-zone': 'eu-central-1a',
    mac: '02:00:00:00:00:02',
    [`${mac}/public-ipv4s`]: publicIpv4,
    'iam/security-credentials/edge-role': role === undefined ? undefined : credentials(role),
    ...Object.fromEntries(
      Object.entries(showsTags === true ? (tags ?? {}) : {}).map(([key, value]) => [
        `tags/instance/${key}`,
        value,
      ]),
    ),
  };
  return new Map(
    Object.entries(facts).flatMap(([path, value]) => (value === undefined ? [] : [[path, value]])),
  );
}

/** As the role's credentials stand in the metadata. */
function credentials({ accessKeyId, secretKey, token }: NonNullable<Instance['role']>): string {
  return JSON.stringify({
    Code: 'Success',
    Type: 'AWS-HMAC',
    LastUpdated: '2026-01-01T00:00:00Z',
    AccessKeyId: accessKeyId,
    SecretAccessKey: secretKey,
    Token: token,
    Expiration: '2099-01-01T00:00:00Z',
  });
}

export function createAws(changes: Changes): MetadataService {
  let instance = changed({ publicIpv4: '203.0.113.17' }, changes);
  /** Questions that are left, by session token. */
  const sessions = new Map<string, number>();

  function openSession(headers: Readonly<Record<string, unknown>>): MetadataAnswer {
    const ttl = Number(headers['x-aws-ec2-metadata-token-ttl-seconds'] ?? Number.NaN);
    if (headers['x-forwarded-for'] !== undefined) return { status: 403, body: '' };
    if (!Number.isInteger(ttl) || ttl < 1 || ttl > 21_600) return { status: 400, body: '' };
    const token = randomBytes(40).toString('base64');
    sessions.set(token, instance.sessionQuestions ?? Number.POSITIVE_INFINITY);
    return { status: 200, body: token, headers: { 'x-aws-ec2-metadata-token-ttl-seconds': String(ttl) } };
  }

  return {
    change(next) {
      instance = changed(instance, next);
    },
    answer({ method, path, headers }) {
      const asked = decodeURIComponent(path.replace(/^\/latest\//, '').replace(/\/$/, ''));
      if (asked === 'api/token') return method === 'PUT' ? openSession(headers) : { status: 405, body: '' };
      const token = String(headers['x-aws-ec2-metadata-token'] ?? '');
      const left = sessions.get(token) ?? 0;
      if (left <= 0) return { status: 401, body: '' };
      sessions.set(token, left - 1);
      const facts = factsOf(instance);
      const key = asked.replace(/^meta-data\/?/, '');
      const fact = facts.get(key);
      if (fact !== undefined) return { status: 200, body: fact };
      const below = [...facts.keys()].filter((one) => one.startsWith(`${key}/`));
      const listed = new Set(below.map((one) => one.slice(key.length + 1).replace(/\/.*$/, '/')));
      return listed.size > 0 ? { status: 200, body: [...listed].join('\n') } : notFound;
    },
  };
}
