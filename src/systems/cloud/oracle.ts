/**
 * Oracle Cloud's metadata service, version 2: the instance, and its virtual network cards. The public IPv4 address is in neither (a
 * gateway translates it), so on Oracle it has to stand in the config.
 */
import {
  dig,
  digList,
  digText,
  isGlobalIpv6,
  type Provider,
  type ProviderOptions,
  wantedTags,
} from './provider.ts';

/** Refuses those who do not mean to ask; not a secret. */
const headers = { Authorization: 'Bearer Oracle' } as const;

/** Asks Oracle Cloud. */
export function createOracle({ questions, baseUrls, tagPrefix }: ProviderOptions): Provider {
  const base = `${baseUrls[0] ?? ''}/opc/v2`;
  return {
    async ask() {
      const document = await questions.json({ url: `${base}/instance/`, headers });
      const vnics = await questions.json({ url: `${base}/vnics/`, headers });
      const id = digText(document, 'id');
      const tags = dig(document, 'freeformTags');
      const pairs = typeof tags === 'object' && tags !== null ? Object.entries(tags) : [];
      return {
        provider: 'oracle',
        instanceId: id,
        instanceType: digText(document, 'shape'),
        region: digText(document, 'canonicalRegionName') ?? digText(document, 'region'),
        // `Uocm:PHX-AD-1` -> `PHX-AD-1`, as Oracle's cloud controller manager labels it: a label cannot have a colon.
        zone: digText(document, 'availabilityDomain')?.replace(/^.*:/, ''),
        publicIpv4: undefined,
        publicIpv6: digList(vnics, 0, 'ipv6Addresses').find(
          (address) => typeof address === 'string' && isGlobalIpv6(address),
        ),
        // Oracle's cloud controller manager takes it with and without the scheme.
        providerId: id === undefined ? undefined : `oci://${id}`,
        tags: wantedTags(
          tagPrefix,
          pairs.map(([key, value]): [string, string] => [key, typeof value === 'string' ? value : '']),
        ),
      };
    },
  };
}
