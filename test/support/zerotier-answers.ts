/** Answers of zerotier-one 1.14.1's local API, as observed; the clock is 2542 ms after the controller's last word. */

/** The network of these answers; its first ten digits are its controller's address. */
export const networkId = '734bea9d3d000001';

/** GET /status. */
export function statusAnswer(): Record<string, unknown> {
  return {
    address: '40c95ab4df',
    clock: 1795429571719,
    config: {
      settings: {
        allowTcpFallbackRelay: false,
        forceTcpRelay: false,
        homeDir: '/var/lib/zerotier-one',
        interfacePrefixBlacklist: ['docker', 'veth'],
        listeningOn: ['10.99.0.2/9993', '10.99.0.2/27059'],
        portMappingEnabled: false,
        primaryPort: 9993,
        secondaryPort: 27059,
        softwareUpdate: 'disable',
        softwareUpdateChannel: 'release',
        surfaceAddresses: ['10.99.0.2/27059'],
        tertiaryPort: 0,
      },
    },
    online: true,
    planetWorldId: 990099,
    planetWorldTimestamp: 1795429548000,
    publicIdentity: '40c95ab4df:0:f8259417',
    tcpFallbackActive: false,
    version: '1.14.1',
    versionBuild: 0,
    versionMajor: 1,
    versionMinor: 14,
    versionRev: 1,
  };
}

/** One element of GET /network, and the answer to a join. */
export function networkAnswer(): Record<string, unknown> {
  return {
    allowDNS: false,
    allowDefault: false,
    allowGlobal: false,
    allowManaged: true,
    assignedAddresses: ['10.99.17.89/24'],
    bridge: false,
    broadcastEnabled: true,
    dhcp: false,
    dns: { domain: 'zt.lab.test', servers: ['10.99.17.1', '10.99.17.2'] },
    id: networkId,
    mac: '02:40:c9:67:29:35',
    mtu: 2800,
    multicastSubscriptions: [{ adi: 0, mac: '01:00:5e:00:00:01' }],
    name: 'lab',
    netconfRevision: 1,
    nwid: networkId,
    portDeviceName: 'zt5z3ovhj4',
    portError: 0,
    routes: [{ flags: 0, metric: 0, target: '10.99.17.0/24', via: null }],
    status: 'OK',
    type: 'PRIVATE',
  };
}

/** GET /peer: the controller with two paths, and a leaf. */
export function peerAnswer(): Record<string, unknown>[] {
  const path = { active: true, expired: false, localPort: 0, preferred: false, trustedPathId: 0 };
  return [
    {
      address: '734bea9d3d',
      isBonded: false,
      latency: 28,
      paths: [
        { ...path, address: '10.99.0.1/9993', lastReceive: 1795429549202, lastSend: 1795429549202 },
        { ...path, address: '10.99.0.1/9993', lastReceive: 1795429569177, lastSend: 1795429569177 },
      ],
      role: 'PLANET',
      tunneled: false,
      version: '1.14.1',
    },
    { address: 'beef26c292', latency: -1, paths: [], role: 'LEAF', version: '-1.-1.-1' },
  ];
}
