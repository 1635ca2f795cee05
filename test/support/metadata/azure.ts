/**
 * Azure: 400 without `Metadata: true`, without an API version, for one that it does not know, and for whoever comes through a proxy. The
 * instance's own `publicIpAddress` is empty behind a load balancer, which then has a document of its own (404 otherwise).
 */
import { type Changes, changed, type Instance, json, type MetadataService } from './service.ts';

const refusal = (error: string, more: object = {}) => ({ ...json({ error, ...more }), status: 400 });
const subscription = '/subscriptions/11111111-2222-3333-4444-555555555555';

function instanceDocument({ publicIpv4, publicIpv6, tags, isBehindLoadBalancer }: Instance) {
  const own = (address: string | undefined) => (isBehindLoadBalancer === true ? '' : (address ?? ''));
  return {
    compute: {
      azEnvironment: 'AzurePublicCloud',
      location: 'westeurope',
      name: 'edge-1',
      platformFaultDomain: '0',
      resourceGroupName: 'Edge-RG',
      resourceId: `${subscription}/resourceGroups/Edge-RG/providers/Microsoft.Compute/virtualMachines/edge-1`,
      tagsList: Object.entries(tags ?? {}).map(([name, value]) => ({ name, value })),
      vmId: '02aab8a4-74ef-476e-8182-f6d2ba4166a6',
      vmSize: 'Standard_B2s',
      zone: '1',
    },
    network: {
      interface: [
        {
          ipv4: {
            ipAddress: [{ privateIpAddress: '10.99.0.2', publicIpAddress: own(publicIpv4) }],
            subnet: [{ address: '10.99.0.0', prefix: '24' }],
          },
          ipv6: { ipAddress: [{ privateIpAddress: 'fd00::2', publicIpAddress: own(publicIpv6) }] },
          macAddress: '020000000002',
        },
      ],
    },
  };
}

export function createAzure(changes: Changes): MetadataService {
  let instance = changed({ publicIpv4: '203.0.113.17' }, changes);
  return {
    change(next) {
      instance = changed(instance, next);
    },
    answer({ method, path, headers }) {
      const url = new URL(path, 'http://169.254.169.254');
      const version = url.searchParams.get('api-version');
      const newest = instance.newestVersion ?? '2025-04-07';
      if (method !== 'GET') return { status: 405, body: '' };
      if (headers['metadata'] !== 'true' || headers['x-forwarded-for'] !== undefined)
        return refusal('Bad request. Required metadata header not specified');
      if (version === null || !/^\d{4}-\d\d-\d\d$/.test(version) || version > newest)
        return refusal('Bad request. api-version is invalid or was not specified in the request.', {
          'newest-versions': [newest],
        });
      if (url.pathname === '/metadata/instance') return json(instanceDocument(instance));
      if (url.pathname !== '/metadata/loadbalancer') return { ...json({ error: 'Not found' }), status: 404 };
      if (instance.isBehindLoadBalancer !== true)
        return { ...json({ error: 'No load balancer metadata is found.' }), status: 404 };
      const pairs = [
        [instance.publicIpv4, '10.99.0.2'],
        [instance.publicIpv6 === undefined ? undefined : `[${instance.publicIpv6}]`, '[fd00::2]'],
      ].filter(([frontend]) => frontend !== undefined);
      return json({
        loadbalancer: {
          publicIpAddresses: pairs.map(([frontendIpAddress, privateIpAddress]) => ({
            frontendIpAddress,
            privateIpAddress,
          })),
          inboundRules: [],
          outboundRules: [],
        },
      });
    },
  };
}
