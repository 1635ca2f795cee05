/**
 * Google Cloud: 403 without `Metadata-Flavor: Google` and for whoever comes through a proxy; each answer has that header and an ETag.
 * `wait_for_change` holds the answer back until something differs from `last_etag`, or `timeout_sec` is over.
 */
import { createHash } from 'node:crypto';
import {
  type Changes,
  changed,
  type Instance,
  type MetadataAnswer,
  type MetadataService,
} from './service.ts';

const project = 'projects/123456789012';

function factsOf({ publicIpv4, publicIpv6, tags = {} }: Instance): Readonly<Record<string, string>> {
  const nic = {
    accessConfigs: publicIpv4 === undefined ? [] : [{ externalIp: publicIpv4, type: 'ONE_TO_ONE_NAT' }],
    dnsServers: ['169.254.169.254'],
    ip: '10.99.0.2',
    ipv6s: publicIpv6 === undefined ? [] : [publicIpv6],
    mac: '02:00:00:00:00:02',
    mtu: 1460,
  };
  return {
    // Too large for a number in JavaScript.
    'instance/id': '5678901234567890123',
    'instance/name': 'edge-1',
    'instance/zone': `${project}/zones/europe-west1-b`,
    'instance/machine-type': `${project}/machineTypes/e2-small`,
    'instance/network-interfaces': JSON.stringify([nic]),
    'instance/attributes': ['ssh-keys', ...Object.keys(tags)].join('\n'),
    'instance/attributes/ssh-keys': 'a key that is nobody’s business',
    ...Object.fromEntries(Object.entries(tags).map(([key, value]) => [`instance/attributes/${key}`, value])),
    'project/project-id': 'edge-project',
  };
}

export function createGcp(changes: Changes): MetadataService {
  let instance = changed({ publicIpv4: '203.0.113.17' }, changes);
  let waiting: (() => void)[] = [];

  function answerNow(key: string): MetadataAnswer {
    const headers = { 'metadata-flavor': 'Google', server: 'Metadata Server for VM' };
    const fact = factsOf(instance)[key];
    if (fact === undefined) return { status: 404, body: '<html>404</html>', headers };
    const etag = createHash('sha256').update(fact).digest('hex').slice(0, 16);
    return { status: 200, body: fact, headers: { ...headers, etag } };
  }

  return {
    change(next) {
      instance = changed(instance, next);
      for (const answer of waiting.splice(0)) answer();
    },
    answer({ path, headers }) {
      const url = new URL(path, 'http://169.254.169.254');
      const key = decodeURIComponent(url.pathname.replace(/^\/computeMetadata\/v1\//, '').replace(/\/$/, ''));
      if (headers['metadata-flavor'] !== 'Google' || headers['x-forwarded-for'] !== undefined)
        return { status: 403, body: 'Missing Metadata-Flavor:Google header.' };
      const now = answerNow(key);
      const isToWait =
        url.searchParams.get('wait_for_change') === 'true' &&
        now.headers?.['etag'] === url.searchParams.get('last_etag');
      if (!isToWait) return now;
      return new Promise((resolve) => {
        const answer = () => {
          clearTimeout(timer);
          waiting = waiting.filter((one) => one !== answer);
          resolve(answerNow(key));
        };
        const timer = setTimeout(answer, Number(url.searchParams.get('timeout_sec')) * 1000);
        timer.unref();
        waiting.push(answer);
      });
    },
  };
}
