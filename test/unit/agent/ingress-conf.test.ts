import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { servedInWords, wantedConf } from '#src/agent/stages/ingress-conf.ts';
import type { World } from '#src/agent/world.ts';
import {
  aConfig,
  aLink,
  aMemory,
  aNetwork,
  aWorld,
  device,
  hostAddresses,
  networkId,
  units,
} from '../../support/world.ts';

const configOf = (...addresses: readonly unknown[]) =>
  aConfig({
    ingress: addresses.map((of, i) => ({
      name: `e${i}`,
      listen: 443 + i,
      addresses: of,
      upstreams: ['127.0.0.1:30484'],
    })),
  });
const eth0 = aLink({ name: 'eth0', ifindex: 2, addresses: ['10.0.0.5/24', '2001:db8::5/64'] });
const zt = aLink();
const both = hostAddresses({ eth0, [device]: zt }, 'eth0');
const only = (...addresses: readonly string[]) => both.filter(({ address }) => addresses.includes(address));

/** What is wanted where `inPlace` is in place. */
function wanted(
  config: ReturnType<typeof configOf>,
  addresses: World['addresses'],
  inPlace?: string,
  { activeState = 'active', memory = aMemory() } = {},
) {
  const world = aWorld({ addresses, units: units({}, { activeState }) });
  const ingress: World['ingress'] =
    inPlace === undefined
      ? world.ingress
      : { ...world.ingress, config: { kind: 'present', text: inPlace, mode: 0o644 } };
  return wantedConf({ config, world: { ...world, ingress }, memory }, config.ingress);
}

describe('the wanted nginx.conf', () => {
  const config = configOf('default-route', '10.0.0.5', 'zerotier');

  test('stays while addresses go and come back', () => {
    const { text } = wanted(config, both);
    assert.match(text, /listen 10\.0\.0\.5:443 .*\n.*listen \[2001:db8::5\]:443 /);
    for (const left of [[], only('10.0.0.5'), only('10.45.0.7'), hostAddresses({ eth0, [device]: zt })])
      assert.equal(wanted(config, left, text).text, text);
  });

  test('changes at once for an address that comes, and then without those that went', () => {
    const { text } = wanted(config, both);
    const other = aLink({ ...eth0, addresses: ['10.0.0.9/24'] });
    const moved = wanted(config, hostAddresses({ eth0: other, [device]: zt }, 'eth0'), text);
    assert.match(moved.text, /# Addresses of e0: 10\.0\.0\.9\n/);
    assert.deepEqual(moved.open, ['e0', 'e2']);
    assert.deepEqual(moved.waiting, ['e1 waits for 10.0.0.5']);
  });

  test('has only what is there for an nginx that has to start', () => {
    const { text } = wanted(config, both);
    for (const activeState of ['failed', 'activating', 'inactive']) {
      const started = wanted(config, only('2001:db8::5', '10.45.0.7'), text, { activeState });
      assert.deepEqual(started.open, ['e0', 'e2']);
      assert.doesNotMatch(started.text, /10\.0\.0\.5/);
    }
  });

  test('follows another config though an address is away, and without that address', () => {
    const { text } = wanted(configOf(['10.0.0.5', '10.45.0.7']), both);
    const less = wanted(configOf('10.45.0.7'), only('10.45.0.7'), text);
    assert.doesNotMatch(less.text, /10\.0\.0\.5/);
    const other = wanted(configOf(['10.0.0.5', '10.45.0.7'], 'all'), only('10.45.0.7'), text);
    assert.doesNotMatch(other.text, /10\.0\.0\.5/);
  });

  test('turns ZeroTier’s addresses away from the boot on, before ZeroTier has told any', () => {
    const all = configOf('all');
    const { text } = wanted(all, both);
    assert.match(text, /# Addresses of ZeroTier: 10\.45\.0\.7\n/);
    const atBoot = { activeState: 'activating', memory: aMemory({ networks: {} }) };
    assert.equal(wanted(all, [], text, atBoot).text, text);
    const { portDeviceName, mtuBytes, dns } = aNetwork();
    const told = {
      device: portDeviceName,
      configured: true,
      mtuBytes,
      dns,
      assignedAddresses: ['10.45.0.8/24'],
    };
    const memory = aMemory({ networks: { [networkId]: told } });
    assert.match(wanted(all, [], text, { memory }).text, /# Addresses of ZeroTier: 10\.45\.0\.8\n/);
  });

  test('of a default route through ZeroTier has none of its addresses', () => {
    const { open } = wanted(configOf('default-route'), hostAddresses({ [device]: zt }, device));
    assert.deepEqual(open, []);
  });

  test('is told in words, with who waits for what', () => {
    const conf = wanted(config, only('10.45.0.7'));
    assert.equal(
      servedInWords(config.ingress, conf),
      "e2 on 445/tcp; e0 waits for an address on the default route's interface; e1 waits for 10.0.0.5",
    );
    const none = configOf('192.0.2.1');
    assert.equal(servedInWords(none.ingress, wanted(none, both)), 'nothing; e0 waits for 192.0.2.1');
  });
});
