/** Hetzner: no header is demanded; the document is YAML, the IPv6 address is in the network config, and labels are nowhere. */
import { stringify } from 'yaml';
import { type Changes, changed, type MetadataService, notFound } from './service.ts';

export function createHetzner(changes: Changes): MetadataService {
  let instance = changed({ publicIpv4: '203.0.113.17', publicIpv6: '2a01:4f8:c17:1::1' }, changes);
  return {
    change(next) {
      instance = changed(instance, next);
    },
    answer({ path }) {
      if (path !== '/hetzner/v1/metadata') return notFound;
      const { publicIpv4, publicIpv6 } = instance;
      const subnets = [
        ...(publicIpv4 === undefined ? [] : [{ ipv4: true, type: 'dhcp' }]),
        ...(publicIpv6 === undefined
          ? []
          : [{ address: `${publicIpv6}/64`, gateway: 'fe80::1', ipv6: true, type: 'static' }]),
      ];
      const document = {
        'availability-zone': 'fsn1-dc14',
        hostname: 'edge-1',
        'instance-id': 42_000_001,
        'network-config': {
          config: [{ mac_address: '96:00:00:00:00:02', name: 'eth0', subnets, type: 'physical' }],
          version: 1,
        },
        ...(publicIpv4 === undefined ? {} : { 'public-ipv4': publicIpv4 }),
        region: 'eu-central',
        vendor_data: '#cloud-config\n{}\n',
      };
      return { status: 200, body: stringify(document), headers: { 'content-type': 'text/plain' } };
    },
  };
}
