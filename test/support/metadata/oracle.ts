/** Oracle, version 2: 401 without `Authorization: Bearer Oracle`. The public IPv4 address is in no answer. */
import { type Changes, changed, json, type MetadataService, notFound } from './service.ts';

export const oracleId =
  'ocid1.instance.oc1.eu-frankfurt-1.antheljtexampleexampleexampleexampleexampleexampleexampleexamp';

export function createOracle(changes: Changes): MetadataService {
  let instance = changed({ publicIpv6: '2603:c020:8005:1::17' }, changes);
  return {
    change(next) {
      instance = changed(instance, next);
    },
    answer({ path, headers }) {
      if (headers['authorization'] !== 'Bearer Oracle') return { status: 401, body: 'Unauthorized' };
      const { publicIpv6, tags = {} } = instance;
      switch (path.replace(/\/$/, '')) {
        case '/opc/v2/instance':
          return json({
            availabilityDomain: 'EMIr:EU-FRANKFURT-1-AD-1',
            canonicalRegionName: 'eu-frankfurt-1',
            displayName: 'edge-1',
            faultDomain: 'FAULT-DOMAIN-3',
            freeformTags: tags,
            id: oracleId,
            metadata: { ssh_authorized_keys: 'a key that is nobody’s business' },
            region: 'eu-frankfurt-1',
            shape: 'VM.Standard.A1.Flex',
          });
        case '/opc/v2/vnics':
          return json([
            {
              macAddr: '02:00:00:00:00:02',
              nicIndex: 0,
              privateIp: '10.99.0.2',
              subnetCidrBlock: '10.99.0.0/24',
              virtualRouterIp: '10.99.0.1',
              vlanTag: 1,
              vnicId: 'ocid1.vnic.oc1.eu-frankfurt-1.example',
              ...(publicIpv6 === undefined ? {} : { ipv6Addresses: [publicIpv6] }),
            },
          ]);
        default:
          return notFound;
      }
    },
  };
}
