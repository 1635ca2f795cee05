/**
 * Azure's instance metadata service: one document about the instance, and one about the load balancer in front of it, which alone
 * knows the public address of a Standard SKU (the instance's own `publicIpAddress` is empty then).
 *
 * Always true here: each question carries `Metadata: true`; an API version that the service does not know yet (400) is replaced by an
 * older one, which is then kept.
 */
import { isIPv4, isIPv6 } from 'node:net';
import {
  dig,
  digList,
  digText,
  type Provider,
  type ProviderOptions,
  type TagsTold,
  wantedTags,
} from './provider.ts';
import { documentBytes } from './questions.ts';

/** The newest whose fields are known here, and one that every region and Azure Stack have had for years. */
const apiVersions = ['2023-07-01', '2021-02-01'] as const;
/** The first that has it, and the one of its documentation. */
const loadBalancerVersion = '2020-10-01';
const headers = { Metadata: 'true' } as const;

/** Asks Azure. */
export function createAzure({ questions, baseUrls, tagPrefix }: ProviderOptions): Provider {
  const base = `${baseUrls[0] ?? ''}/metadata`;
  let version: string = apiVersions[0];

  async function instance(): Promise<unknown> {
    const probe = await questions.ask({
      url: `${base}/instance?api-version=${version}`,
      headers,
      maxBytes: documentBytes,
    });
    if (probe.status === 400 && version === apiVersions[0]) {
      version = apiVersions[1];
      return instance();
    }
    if (probe.status !== 200) throw questions.unavailable(`answers instance with status ${probe.status}`);
    try {
      return JSON.parse(probe.text);
    } catch {
      throw questions.malformed('answers instance with something that is no JSON');
    }
  }

  /** The frontend addresses that lead to this instance; none where no load balancer does (404) or it is of the Basic SKU. */
  async function frontends(): Promise<readonly string[]> {
    const told = await questions.text({
      url: `${base}/loadbalancer?api-version=${loadBalancerVersion}`,
      headers,
      maxBytes: documentBytes,
    });
    if (told === undefined) return [];
    try {
      return digList(JSON.parse(told), 'loadbalancer', 'publicIpAddresses').flatMap((entry) => {
        // IPv6 comes in brackets.
        const address = digText(entry, 'frontendIpAddress')?.replace(/^\[(.*)\]$/, '$1');
        return address ?? [];
      });
    } catch {
      throw questions.malformed('answers loadbalancer with something that is no JSON');
    }
  }

  return {
    async ask() {
      const document = await instance();
      const compute = dig(document, 'compute');
      const nic = dig(document, 'network', 'interface', 0);
      const own = (family: 'ipv4' | 'ipv6') =>
        digList(nic, family, 'ipAddress').flatMap((entry) => digText(entry, 'publicIpAddress') ?? []);
      const [ipv4, ipv6] = [own('ipv4')[0], own('ipv6')[0]];
      const shared = ipv4 === undefined || ipv6 === undefined ? await frontends() : [];
      const region = digText(compute, 'location')?.toLowerCase();
      return {
        provider: 'azure',
        instanceId: digText(compute, 'vmId'),
        instanceType: digText(compute, 'vmSize'),
        region,
        zone: zoneOf(region, digText(compute, 'zone'), digText(compute, 'platformFaultDomain')),
        publicIpv4: ipv4 ?? shared.find((address) => isIPv4(address)),
        publicIpv6: ipv6 ?? shared.find((address) => isIPv6(address)),
        providerId: providerIdOf(digText(compute, 'resourceId')),
        tags: tagsOf(compute, tagPrefix),
      };
    },
  };
}

/** As Azure's cloud controller manager labels it: the region and the zone's number, or the fault domain where there are no zones. */
function zoneOf(
  region: string | undefined,
  zone: string | undefined,
  faultDomain: string | undefined,
): string | undefined {
  return region === undefined || zone === undefined ? faultDomain : `${region}-${zone}`;
}

/** As Azure's cloud controller manager writes it: the resource's id, the name of the resource group in lower case. */
function providerIdOf(resourceId: string | undefined): string | undefined {
  if (resourceId === undefined) return undefined;
  const lower = (_all: string, before: string, group: string) => before + group.toLowerCase();
  return `azure://${resourceId.replace(/^(\/subscriptions\/[^/]+\/resourceGroups\/)([^/]+)/i, lower)}`;
}

function tagsOf(compute: unknown, prefix: string | undefined): TagsTold {
  const pairs = digList(compute, 'tagsList').flatMap((entry) => {
    const key = digText(entry, 'name');
    return key === undefined ? [] : [[key, digText(entry, 'value') ?? ''] as const];
  });
  return wantedTags(prefix, pairs);
}
