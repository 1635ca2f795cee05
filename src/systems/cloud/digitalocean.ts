/** DigitalOcean's metadata service: one JSON document. It knows no zones and does not tell the droplet's size. */
import {
  dig,
  digList,
  digText,
  isGlobalIpv6,
  type Provider,
  type ProviderOptions,
  wantedTags,
} from './provider.ts';

/** Asks DigitalOcean. */
export function createDigitalOcean({ questions, baseUrls, tagPrefix }: ProviderOptions): Provider {
  return {
    async ask() {
      const document = await questions.json({ url: `${baseUrls[0] ?? ''}/metadata/v1.json` });
      const nic = dig(document, 'interfaces', 'public', 0);
      const id = digText(document, 'droplet_id');
      const ipv6 = reserved(document, 'ipv6') ?? digText(nic, 'ipv6', 'ip_address');
      return {
        provider: 'digitalocean',
        instanceId: id,
        instanceType: undefined,
        region: digText(document, 'region'),
        zone: undefined,
        publicIpv4: reserved(document, 'ipv4') ?? digText(nic, 'ipv4', 'ip_address'),
        publicIpv6: ipv6 !== undefined && isGlobalIpv6(ipv6) ? ipv6 : undefined,
        // As DigitalOcean's cloud controller manager writes it.
        providerId: id === undefined ? undefined : `digitalocean://${id}`,
        tags: wantedTags(tagPrefix, pairsOf(digList(document, 'tags'))),
      };
    },
  };
}

/** A reserved (floating) address: what DNS points at, and it moves from droplet to droplet, so the droplet's own comes second. */
function reserved(document: unknown, family: 'ipv4' | 'ipv6'): string | undefined {
  for (const key of ['reserved_ip', 'floating_ip']) {
    const entry = dig(document, key, family);
    if (dig(entry, 'active') === true) return digText(entry, 'ip_address');
  }
  return undefined;
}

/** Its tags are single words: `KEY:VALUE`, or a KEY with an empty value. */
function pairsOf(tags: readonly unknown[]): [string, string][] {
  return tags.flatMap((tag): [string, string][] => {
    if (typeof tag !== 'string') return [];
    const colon = tag.indexOf(':');
    return [colon === -1 ? [tag, ''] : [tag.slice(0, colon), tag.slice(colon + 1)]];
  });
}
