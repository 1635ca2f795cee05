/**
 * Google Cloud's metadata server, by its address rather than its name, so that no DNS is needed.
 *
 * Always true here: each question carries `Metadata-Flavor: Google`, and an answer without the same header is somebody else's and not
 * believed. Only the fields that are needed are asked: the instance's attributes hold keys and user data of others.
 */
import {
  digList,
  digText,
  isGlobalIpv6,
  type Provider,
  type ProviderOptions,
  type TagsTold,
  wantedTags,
} from './provider.ts';
import { documentBytes, type Question } from './questions.ts';

const headers = { 'Metadata-Flavor': 'Google' } as const;
const interfacesPath = 'instance/network-interfaces/?recursive=true';
/** On top of the time that the server was asked to wait. */
const graceMs = 10_000;

/** Asks Google Cloud. */
export function createGcp({ questions, baseUrls, tagPrefix, onInstanceId }: ProviderOptions): Provider {
  const base = `${baseUrls[0] ?? ''}/computeMetadata/v1`;
  /** Of the network interfaces, as last answered. */
  let etag: string | undefined;

  /** As `Questions.text`, and only Google's own. */
  async function fact(path: string, options: Partial<Question> = {}): Promise<string | undefined> {
    const answer = await questions.ask({ ...options, url: `${base}/${path}`, headers });
    if (answer.status === 404) return undefined;
    if (answer.status !== 200) throw questions.unavailable(`answers ${path} with status ${answer.status}`);
    if (answer.header('metadata-flavor') !== 'Google')
      throw questions.malformed(`answers ${path} without Metadata-Flavor: Google`);
    if (path.startsWith(interfacesPath)) etag = answer.header('etag');
    return answer.text.trim();
  }

  async function interfaces(): Promise<unknown> {
    const text = await fact(interfacesPath, { maxBytes: documentBytes });
    try {
      return JSON.parse(text ?? '[]');
    } catch {
      throw questions.malformed('answers network-interfaces with something that is no JSON');
    }
  }

  /** Custom metadata with the wanted prefix; Google's labels are not in the metadata server. */
  async function tags(): Promise<TagsTold> {
    if (tagPrefix === undefined) return { kind: 'not-wanted' };
    const listed = (await fact('instance/attributes/', { maxBytes: documentBytes })) ?? '';
    const pairs: [string, string][] = [];
    for (const key of listed.split('\n').filter((line) => line.startsWith(tagPrefix))) {
      const value = await fact(`instance/attributes/${encodeURIComponent(key)}`, { maxBytes: documentBytes });
      pairs.push([key, value ?? '']);
    }
    return wantedTags(tagPrefix, pairs);
  }

  return {
    async ask() {
      const told = await fact('instance/id');
      const instanceId = told !== undefined && /^\d{1,20}$/.test(told) ? told : undefined;
      if (instanceId !== undefined) await onInstanceId(instanceId);
      const zone = lastPart(await fact('instance/zone'));
      const nics = await interfaces();
      const project = await fact('project/project-id');
      const name = await fact('instance/name');
      const isWhole = project !== undefined && zone !== undefined && name !== undefined;
      return {
        provider: 'gcp',
        instanceId,
        instanceType: lastPart(await fact('instance/machine-type')),
        region: zone?.replace(/-[^-]*$/, ''),
        zone,
        publicIpv4: digList(nics, 0, 'accessConfigs').flatMap((one) => digText(one, 'externalIp') ?? [])[0],
        publicIpv6: digList(nics, 0, 'ipv6s').find(
          (address) => typeof address === 'string' && isGlobalIpv6(address),
        ),
        // As Google's cloud controller manager writes it.
        providerId: isWhole ? `gce://${project}/${zone}/${name}` : undefined,
        tags: await tags(),
      };
    },

    async waitForChange(mostMs) {
      if (etag === undefined) return false;
      const before = etag;
      const seconds = Math.max(1, Math.floor(mostMs / 1000));
      const wait = `&wait_for_change=true&timeout_sec=${seconds}&last_etag=${encodeURIComponent(before)}`;
      await fact(interfacesPath + wait, {
        maxBytes: documentBytes,
        deadlineMs: seconds * 1000 + graceMs,
      });
      return etag !== before;
    },
  };
}

/** `projects/1/zones/europe-west1-b` -> `europe-west1-b`. */
function lastPart(path: string | undefined): string | undefined {
  return path?.split('/').at(-1);
}
