/** What is known of each cloud's default instance, and how its metadata can be turned against mooring: the table of clouds.test.ts. */
import type { CloudFacts } from '../../../src/systems/cloud/types.ts';
import type { MetadataCloud } from '../../support/metadata/clouds.ts';
import { oracleId } from '../../support/metadata/oracle.ts';

export interface Scenario {
  /** What the default instance is known by. */
  readonly facts: Omit<CloudFacts, 'provider' | 'tags'>;
  /** The answer to a question without the demanded header; undefined where none is demanded. */
  readonly refusal: { readonly path: string; readonly status: number } | undefined;
  /** Whether tags are in the metadata. */
  readonly tells: { readonly tags: boolean; readonly publicIpv4: boolean };
  /** Words of the answers that a hostile service could put in the place of these, and the field that then is none. */
  readonly hostile: readonly (readonly [genuine: string, hostile: string, field: string])[];
}

export const scenarios: Readonly<Record<MetadataCloud, Scenario>> = {
  aws: {
    facts: {
      instanceId: 'i-0123456789abcdef0',
      instanceType: 't3.small',
      region: 'eu-central-1',
      zone: 'eu-central-1a',
      publicIpv4: '203.0.113.17',
      publicIpv6: undefined,
      providerId: 'aws:///eu-central-1a/i-0123456789abcdef0',
    },
    refusal: { path: '/latest/meta-data/instance-id', status: 401 },
    tells: { tags: true, publicIpv4: true },
    hostile: [
      ['i-0123456789abcdef0', 'i-1"\nkubelet-arg: evil', 'instanceId'],
      ['t3.small', '{{ evil }}', 'instanceType'],
      ['203.0.113.17', '203.0.113.17\n203.0.113.18', 'publicIpv4'],
      ['203.0.113.17', '2001:db8::1', 'publicIpv4'],
    ],
  },
  azure: {
    facts: {
      instanceId: '02aab8a4-74ef-476e-8182-f6d2ba4166a6',
      instanceType: 'Standard_B2s',
      region: 'westeurope',
      zone: 'westeurope-1',
      publicIpv4: '203.0.113.17',
      publicIpv6: undefined,
      providerId:
        'azure:///subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/edge-rg/providers/Microsoft.Compute/virtualMachines/edge-1',
    },
    refusal: { path: '/metadata/instance?api-version=2021-02-01', status: 400 },
    tells: { tags: true, publicIpv4: true },
    hostile: [
      ['02aab8a4-74ef-476e-8182-f6d2ba4166a6', 'a b', 'instanceId'],
      ['Standard_B2s', 'x'.repeat(64), 'instanceType'],
      ['resourceGroups/Edge-RG', 'resourceGroups/\\u000a evil', 'providerId'],
      ['203.0.113.17', 'evil.example', 'publicIpv4'],
    ],
  },
  gcp: {
    facts: {
      instanceId: '5678901234567890123',
      instanceType: 'e2-small',
      region: 'europe-west1',
      zone: 'europe-west1-b',
      publicIpv4: '203.0.113.17',
      publicIpv6: undefined,
      providerId: 'gce://edge-project/europe-west1-b/edge-1',
    },
    refusal: { path: '/computeMetadata/v1/instance/id', status: 403 },
    tells: { tags: true, publicIpv4: true },
    hostile: [
      ['europe-west1-b', 'europe-west1-b\nevil: 1', 'zone'],
      ['edge-project', 'edge project', 'providerId'],
      ['203.0.113.17', '203.0.113.1700', 'publicIpv4'],
    ],
  },
  digitalocean: {
    facts: {
      instanceId: '2756294',
      instanceType: undefined,
      region: 'fra1',
      zone: undefined,
      publicIpv4: '203.0.113.17',
      publicIpv6: '2a03:b0c0:3:d0::17',
      providerId: 'digitalocean://2756294',
    },
    refusal: undefined,
    tells: { tags: true, publicIpv4: true },
    hostile: [
      ['2756294', '"../../etc"', 'instanceId'],
      ['fra1', 'fra1, evil=1', 'region'],
      ['203.0.113.17', '203.0.113.17/24', 'publicIpv4'],
    ],
  },
  hetzner: {
    facts: {
      instanceId: '42000001',
      instanceType: undefined,
      region: 'fsn1',
      zone: 'fsn1-dc14',
      publicIpv4: '203.0.113.17',
      publicIpv6: '2a01:4f8:c17:1::1',
      providerId: 'hcloud://42000001',
    },
    refusal: undefined,
    tells: { tags: false, publicIpv4: true },
    hostile: [
      ['42000001', '[1, 2]', 'instanceId'],
      ['fsn1-dc14', '"fsn1 dc14"', 'zone'],
      ['203.0.113.17', '"::ffff:203.0.113.17"', 'publicIpv4'],
    ],
  },
  oracle: {
    facts: {
      instanceId: oracleId,
      instanceType: 'VM.Standard.A1.Flex',
      region: 'eu-frankfurt-1',
      zone: 'EU-FRANKFURT-1-AD-1',
      publicIpv4: undefined,
      publicIpv6: '2603:c020:8005:1::17',
      providerId: `oci://${oracleId}`,
    },
    refusal: { path: '/opc/v2/instance/', status: 401 },
    tells: { tags: true, publicIpv4: false },
    hostile: [
      [oracleId, `ocid1 ${'x'.repeat(300)}`, 'instanceId'],
      ['EMIr:EU-FRANKFURT-1-AD-1', 'EMIr:../../etc', 'zone'],
      ['VM.Standard.A1.Flex', '-', 'instanceType'],
    ],
  },
};
