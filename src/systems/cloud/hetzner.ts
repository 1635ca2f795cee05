/** Hetzner Cloud's metadata service: one YAML document. It tells neither the server's type nor its labels. */
import { parse } from 'yaml';
import { digList, digText, isGlobalIpv6, type Provider, type ProviderOptions } from './provider.ts';
import { documentBytes } from './questions.ts';

/** Asks Hetzner. */
export function createHetzner({ questions, baseUrls, tagPrefix }: ProviderOptions): Provider {
  return {
    async ask() {
      const text = await questions.text({
        url: `${baseUrls[0] ?? ''}/hetzner/v1/metadata`,
        maxBytes: documentBytes,
      });
      if (text === undefined) throw questions.unavailable('answers metadata with status 404');
      const document = parseYaml(text);
      if (document === undefined) throw questions.malformed('answers with something that is no YAML');
      const id = digText(document, 'instance-id');
      const zone = digText(document, 'availability-zone');
      return {
        provider: 'hetzner',
        instanceId: id,
        instanceType: undefined,
        region: regionOf(zone) ?? digText(document, 'region'),
        zone,
        publicIpv4: digText(document, 'public-ipv4'),
        publicIpv6: configuredIpv6(document),
        // As Hetzner's cloud controller manager writes it.
        providerId: id === undefined ? undefined : `hcloud://${id}`,
        tags:
          tagPrefix === undefined
            ? { kind: 'not-wanted' }
            : { kind: 'unavailable', error: "Hetzner's metadata service does not tell a server's labels" },
      };
    },
  };
}

/** Undefined where it is no YAML, or one that unfolds without end. */
function parseYaml(text: string): unknown {
  try {
    return parse(text, { maxAliasCount: 0, logLevel: 'silent' }) ?? undefined;
  } catch {
    return undefined;
  }
}

/** The location, as Hetzner's cloud controller manager labels the region; its metadata calls a whole network zone the region. */
function regionOf(zone: string | undefined): string | undefined {
  return /^([a-z]+\d*)-dc\d+$/.exec(zone ?? '')?.[1];
}

/** The IPv6 address that cloud-init is told to set. */
function configuredIpv6(document: unknown): string | undefined {
  for (const nic of digList(document, 'network-config', 'config')) {
    for (const subnet of digList(nic, 'subnets')) {
      const address = digText(subnet, 'address')?.split('/')[0];
      if (address !== undefined && isGlobalIpv6(address)) return address;
    }
  }
  return undefined;
}
