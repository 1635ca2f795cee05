/** What zerotier-one's answers are read as. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SystemError } from '../../../src/systems/error.ts';
import { decodeReading } from '../../../src/systems/zerotier/decode.ts';
import { networkAnswer, networkId, peerAnswer, statusAnswer } from '../../support/zerotier-answers.ts';

type Answer = Record<string, unknown>;

function decode(change: { status?: Answer; network?: Answer; peers?: unknown } = {}) {
  return decodeReading({
    status: JSON.stringify({ ...statusAnswer(), ...change.status }),
    network: JSON.stringify([{ ...networkAnswer(), ...change.network }]),
    peer: JSON.stringify(change.peers ?? peerAnswer()),
  });
}

const network = (change: Answer) => decode({ network: change }).networks[0];

describe('a reading of zerotier-one', () => {
  test('holds what 1.14.1 answers', () => {
    assert.deepEqual(decode(), {
      kind: 'answered',
      address: '40c95ab4df',
      version: '1.14.1',
      online: true,
      interfacePrefixBlacklist: ['docker', 'veth'],
      listeningOn: ['10.99.0.2/9993', '10.99.0.2/27059'],
      networks: [
        {
          id: networkId,
          name: 'lab',
          status: 'OK',
          portDeviceName: 'zt5z3ovhj4',
          mac: '02:40:c9:67:29:35',
          mtuBytes: 2800,
          assignedAddresses: ['10.99.17.89/24'],
          dns: { domain: 'zt.lab.test', servers: ['10.99.17.1', '10.99.17.2'] },
        },
      ],
      peers: [{ address: '734bea9d3d', lastReceiveAgeMs: 2542 }],
    });
  });

  test('does not differ when only multicast subscriptions and unknown fields do', () => {
    const other = decode({
      status: { future: { x: 1 } },
      network: { multicastSubscriptions: [], netconfRevision: 9, brandNew: true },
    });
    assert.deepEqual(other, decode());
  });

  test('reads every status of the enum, and anything else as UNKNOWN', () => {
    const known = [
      'REQUESTING_CONFIGURATION',
      'OK',
      'ACCESS_DENIED',
      'NOT_FOUND',
      'PORT_ERROR',
      'CLIENT_TOO_OLD',
    ];
    for (const status of [...known, 'AUTHENTICATION_REQUIRED'])
      assert.equal(network({ status })?.status, status);
    for (const status of ['', 'SOMETHING_NEW']) assert.equal(network({ status })?.status, 'UNKNOWN');
  });

  test('has addresses sorted and in canonical form', () => {
    const assignedAddresses = ['fd00:0:0::1/64', '10.99.17.89/24', 'FD00::A/64'];
    assert.deepEqual(network({ assignedAddresses })?.assignedAddresses, [
      '10.99.17.89/24',
      'fd00::1/64',
      'fd00::a/64',
    ]);
  });

  test('has no DNS where the network pushes none, in each of the ways of saying so', () => {
    for (const dns of [undefined, null, [], {}, { domain: '', servers: [] }]) {
      assert.deepEqual(network({ dns })?.dns, { domain: '', servers: [] });
    }
  });

  test('lets no pushed DNS through that is no address and no domain', () => {
    const dns = { domain: 'evil\nDNS=6.6.6.6', servers: ['10.0.0.1', 'evil', 'fe80::1%eth0', 'FD00::1'] };
    assert.deepEqual(network({ dns })?.dns, { domain: '', servers: ['10.0.0.1', 'fd00::1'] });
  });

  test('has a network’s name without control characters', () => {
    assert.equal(network({ name: 'a\u001b[31m\nb' })?.name, 'a [31m b');
  });

  test('takes a blacklist of a wrong type for none, as ZeroTier does', () => {
    const config = { settings: { interfacePrefixBlacklist: 'docker' } };
    assert.deepEqual(decode({ status: { config } }).interfacePrefixBlacklist, []);
    assert.deepEqual(decode({ status: { config: { settings: {} } } }).listeningOn, []);
  });

  test('knows no age for a controller that was never heard', () => {
    const silent = { address: '734bea9d3d', paths: [{ lastReceive: 0 }] };
    assert.deepEqual(decode({ peers: [silent] }).peers, [
      { address: '734bea9d3d', lastReceiveAgeMs: undefined },
    ]);
    assert.deepEqual(decode({ peers: [] }).peers, []);
  });

  test('knows no negative age, since /peer may be answered after /status', () => {
    const peers = [{ address: '734bea9d3d', paths: [{ lastReceive: 1795429571725 }] }];
    assert.deepEqual(decode({ peers }).peers, [{ address: '734bea9d3d', lastReceiveAgeMs: 0 }]);
  });

  const faults: readonly (readonly [change: Parameters<typeof decode>[0], names: RegExp])[] = [
    [{ status: { address: undefined } }, /\/status lacks a valid "address"/],
    [{ status: { online: 'yes' } }, /\/status lacks a valid "online"/],
    [{ status: { config: {} } }, /\/status lacks a valid "config.settings"/],
    [{ network: { id: '../../etc' } }, /\/network lacks a valid "0.id"/],
    [{ network: { portDeviceName: 'a/b' } }, /"0.portDeviceName"/],
    [{ network: { portDeviceName: '..' } }, /"0.portDeviceName"/],
    [{ network: { portDeviceName: 'longer-than-a-name' } }, /"0.portDeviceName"/],
    [{ network: { mtu: '2800' } }, /"0.mtu"/],
    [{ network: { assignedAddresses: ['10.0.0.1'] } }, /"0.assignedAddresses.0"/],
    [{ network: { assignedAddresses: ['10.0.0.1/33'] } }, /"0.assignedAddresses.0"/],
    [{ peers: {} }, /\/peer has an unexpected shape/],
    [{ peers: [{ address: '734bea9d3d' }] }, /\/peer lacks a valid "0.paths"/],
  ];
  for (const [change, names] of faults) {
    test(`${JSON.stringify(change)} is an error that names the field`, () => {
      assert.throws(
        () => decode(change),
        (error) =>
          error instanceof SystemError && error.code === 'zerotier-unexpected' && names.test(error.message),
      );
    });
  }
});
