/** DigitalOcean: no header is demanded. The reserved address is there and inactive where the droplet has none; tags are plain words. */
import { type Changes, changed, json, type MetadataService, notFound } from './service.ts';

export function createDigitalOcean(changes: Changes): MetadataService {
  let instance = changed({ publicIpv4: '203.0.113.17', publicIpv6: '2a03:b0c0:3:d0::17' }, changes);
  return {
    change(next) {
      instance = changed(instance, next);
    },
    answer({ path }) {
      if (path !== '/metadata/v1.json') return notFound;
      const { publicIpv4, publicIpv6, tags = {} } = instance;
      const ipv4 = { ip_address: publicIpv4, netmask: '255.255.255.0', gateway: '203.0.113.1' };
      const ipv6 = { ip_address: publicIpv6, cidr: 64, gateway: '2a03:b0c0:3:d0::1' };
      return json({
        droplet_id: 2756294,
        hostname: 'edge-1',
        region: 'fra1',
        tags: Object.entries(tags).map(([key, value]) => (value === '' ? key : `${key}:${value}`)),
        interfaces: {
          private: [{ ipv4: { ip_address: '10.99.0.2' }, type: 'private' }],
          public: [
            {
              ...(publicIpv4 === undefined ? {} : { ipv4 }),
              ...(publicIpv6 === undefined ? {} : { ipv6 }),
              mac: '02:00:00:00:00:02',
              type: 'public',
            },
          ],
        },
        floating_ip: { ipv4: { active: false } },
        reserved_ip: { ipv4: { active: false } },
        dns: { nameservers: ['67.207.67.2'] },
      });
    },
  };
}
