/** Reading and watching real interfaces. The file runs its tests in a network namespace of its own. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { createFlannelReader } from '../../../src/systems/netlink/flannel.ts';
import { readHostAddresses } from '../../../src/systems/netlink/host-addresses.ts';
import {
  createNetlink,
  type NetlinkOptions,
  type NetlinkWatch,
} from '../../../src/systems/netlink/netlink.ts';
import { inOwnNamespaces } from '../../support/own-namespaces.ts';

const bounded = { timeout: 15_000 };

const ip = (args: string) => execFileSync('ip', args.split(' '));

function tests(): void {
  let netlink: NetlinkWatch;
  let wakes: string[];
  let waiting: { pattern: RegExp; resolve: () => void } | undefined;

  function create(options: Partial<NetlinkOptions> = {}): NetlinkWatch {
    wakes = [];
    return createNetlink({
      wake(reason) {
        wakes.push(reason);
        if (waiting?.pattern.test(reason)) waiting.resolve();
      },
      log: () => undefined,
      interesting: (name) => name.startsWith('zt') || name.startsWith('flannel'),
      ...options,
    });
  }

  /** Resolves at the next wake-up of that reason; the test's own bound ends the wait. */
  function woken(pattern: RegExp): Promise<void> {
    wakes.length = 0;
    return new Promise((resolve) => {
      waiting = { pattern, resolve };
    });
  }

  async function watching(options: Partial<NetlinkOptions> = {}): Promise<void> {
    netlink = create(options);
    const listening = woken(/listening/);
    netlink.start();
    await listening;
  }

  beforeEach(() => {
    netlink = create();
  });
  afterEach(async () => {
    await netlink.close();
    for (const name of ['zthome', 'ztreal', 'other0', 'flannel.1', 'flannel-v6.1', 'renamed0'])
      spawnSync('ip', ['link', 'del', name]);
  });

  test(
    'an interface is read with its index, flags, size and addresses without link-local ones',
    bounded,
    async () => {
      ip('link add ztreal type veth peer name other0');
      ip('link set other0 up');
      ip('link set ztreal up mtu 1400');
      ip('address add 10.98.7.3/24 dev ztreal');
      ip('address add fd00:98::3/64 dev ztreal nodad');
      ip('address add 169.254.7.7/16 dev ztreal');
      const { ztreal, other0 } = await netlink.read();
      assert.ok(ztreal && other0);
      assert.equal(ztreal.ifindex, Number(execFileSync('cat', ['/sys/class/net/ztreal/ifindex'])));
      assert.deepEqual(
        { ...ztreal, ifindex: 0 },
        {
          name: 'ztreal',
          ifindex: 0,
          up: true,
          mtuBytes: 1400,
          parentIfindex: other0.ifindex,
          addresses: ['10.98.7.3/24', 'fd00:98::3/64'],
          unrouted: [],
        },
      );
    },
  );

  test('an address tells whether the kernel leads to its network, in both families', bounded, async () => {
    const read = async () => (await netlink.read())['ztroute']?.unrouted;
    ip('link add ztroute type veth peer name other1');
    ip('link set other1 up');
    ip('addr add 10.99.18.5/20 dev ztroute');
    ip('addr add 10.99.64.5/32 dev ztroute');
    ip('addr add fd00:1:2:3:ff00::5/88 dev ztroute nodad');
    ip('link set ztroute up');
    assert.deepEqual(await read(), []);
    ip('route del 10.99.16.0/20 dev ztroute');
    assert.deepEqual(await read(), ['10.99.18.5/20']);
    ip('-6 route del fd00:1:2:3:ff00::/88 dev ztroute');
    assert.deepEqual(await read(), ['10.99.18.5/20', 'fd00:1:2:3:ff00::5/88']);
    ip('route add 10.99.16.0/20 dev ztroute');
    assert.deepEqual(await read(), ['fd00:1:2:3:ff00::5/88']);
    ip('link del ztroute');
  });

  test('a tap that exists and is down is read, with no address', bounded, async () => {
    ip('tuntap add dev ztreal mode tap');
    ip('address add 10.98.7.3/24 dev ztreal');
    const { ztreal } = await netlink.read();
    assert.ok(ztreal);
    assert.deepEqual([ztreal.up, ztreal.mtuBytes, ztreal.addresses], [false, 1500, []]);
    assert.equal(ztreal.parentIfindex, ztreal.ifindex);
  });

  test('flannel’s device tells the index of the link below it', bounded, async () => {
    ip('tuntap add dev ztreal mode tap');
    ip('link set ztreal up mtu 2800');
    ip('address add 10.98.7.3/24 dev ztreal');
    ip('link add flannel.1 type vxlan id 1 dev ztreal local 10.98.7.3 dstport 8472 nolearning');
    const links = await netlink.read();
    assert.equal(links['flannel.1']?.parentIfindex, links['ztreal']?.ifindex);
    assert.equal(links['flannel.1']?.mtuBytes, 2750);
  });

  test(
    "flannel's device tells its tunnel address and its routes to other nodes, without asking twice",
    bounded,
    async () => {
      const flannel = createFlannelReader();
      assert.deepEqual(await flannel.read(await netlink.read()), []);
      ip('tuntap add dev ztreal mode tap');
      ip('link set ztreal up');
      ip('address add 10.98.7.3/24 dev ztreal');
      ip('link add flannel.1 type vxlan id 1 dev ztreal local 10.98.7.3 dstport 8472 nolearning');
      ip('address add 10.42.3.0/32 dev flannel.1');
      ip('link set flannel.1 up');
      const [bare] = await flannel.read(await netlink.read());
      assert.deepEqual([bare?.name, bare?.local, bare?.routes], ['flannel.1', '10.98.7.3', []]);
      ip('route add 10.42.0.0/24 via 10.42.0.0 dev flannel.1 onlink');
      ip('route add 10.42.16.0/20 via 10.42.16.0 dev flannel.1 onlink');
      ip('route add 10.42.4.0/24 via 10.98.7.4 dev ztreal');
      ip('route add 10.42.5.0/24 dev ztreal');
      const path = process.env['PATH'];
      process.env['PATH'] = '/nowhere';
      const [routed] = await flannel.read(await netlink.read()).finally(() => {
        process.env['PATH'] = path;
      });
      assert.equal(routed?.local, '10.98.7.3');
      assert.deepEqual(routed?.routes, ['10.42.0.0/24', '10.42.16.0/20']);
      assert.deepEqual(routed?.direct, ['10.42.4.0/24']);
    },
  );

  test("flannel's device for IPv6 tells its routes in canonical form", bounded, async () => {
    ip('tuntap add dev ztreal mode tap');
    ip('link set ztreal up');
    ip('address add fd00:45::3/64 dev ztreal nodad');
    ip('link add flannel-v6.1 type vxlan id 1 dev ztreal local fd00:45::3 dstport 8472 nolearning');
    ip('address add 2001:db8:42:3::/128 dev flannel-v6.1 nodad');
    ip('link set flannel-v6.1 up');
    ip('-6 route add 2001:db8:42:1::/64 via 2001:db8:42:1:: dev flannel-v6.1 onlink');
    const [device] = await createFlannelReader().read(await netlink.read());
    assert.deepEqual([device?.name, device?.local], ['flannel-v6.1', 'fd00:45::3']);
    assert.deepEqual(device?.routes, ['2001:db8:42:1::/64']);
  });

  test('an interface that is gone has no entry', bounded, async () => {
    assert.equal((await netlink.read())['ztreal'], undefined);
    assert.ok((await netlink.read())['lo']);
  });

  test(
    'an address is told with its device, and whether the default route of its family leads there',
    bounded,
    async () => {
      const of = (address: string) => readHostAddresses().find((one) => one.address === address);
      for (const args of [
        'link add zthome type veth peer name ztpeer',
        'link set zthome up',
        'link set ztpeer up',
        'addr add 10.0.0.5/24 dev zthome',
        'addr add 10.0.0.6/24 dev zthome label zthome:1',
        'addr add 2001:db8::5/64 dev zthome nodad',
        'addr add 2001:db8::6/64 dev ztpeer nodad',
        'addr add fe80::5/64 dev zthome nodad',
        'route add default via 10.0.0.1',
        '-6 route add default via fe80::1 dev ztpeer',
      ])
        ip(args);
      for (const address of ['10.0.0.5', '10.0.0.6'])
        assert.deepEqual(of(address), {
          address,
          device: 'zthome',
          isLinkLocal: false,
          onDefaultRoute: true,
        });
      assert.deepEqual(
        ['2001:db8::5', '2001:db8::6', '127.0.0.1', '::1'].map((one) => of(one)?.onDefaultRoute),
        [false, true, false, false],
      );
      assert.equal(of('fe80::5')?.isLinkLocal, true);
      ip('addr add 2001:db8::7/64 dev zthome');
      assert.equal(
        of('2001:db8::7'),
        undefined,
        'nobody can listen at an address that is still being checked',
      );
    },
  );

  test('each change of an interesting interface wakes', bounded, async () => {
    await watching();
    const changes = [
      'link add ztreal type veth peer name other0',
      'link set ztreal up',
      'link set ztreal mtu 1400',
      'address add 10.98.7.3/24 dev ztreal',
      'route add 10.42.3.0/24 dev ztreal',
      'address del 10.98.7.3/24 dev ztreal',
      'link set ztreal down',
      'link del ztreal',
    ];
    for (const change of changes) {
      const woke = woken(/ztreal/);
      ip(change);
      await woke;
    }
  });

  test('a change of another interface does not wake', bounded, async () => {
    await watching();
    const woke = woken(/ztreal/);
    ip('tuntap add dev other0 mode tap');
    ip('link set other0 up');
    ip('address add 10.98.8.1/24 dev other0');
    ip('link del other0');
    ip('tuntap add dev ztreal mode tap');
    await woke;
    assert.deepEqual([...new Set(wakes)], ['netlink: ztreal']);
  });

  test('renaming an interface away wakes, though its new name says nothing', bounded, async () => {
    await watching();
    const appeared = woken(/ztreal/);
    ip('tuntap add dev ztreal mode tap');
    await appeared;
    const woke = woken(/renamed0/);
    ip('link set ztreal name renamed0');
    await woke;
  });

  test('a change made while nobody listened shows once listening begins', bounded, async () => {
    ip('tuntap add dev ztreal mode tap');
    await watching();
    assert.ok((await netlink.read())['ztreal']);
  });

  test('a monitor that ends is started again, and the end itself wakes', bounded, async () => {
    const ended: string[] = [];
    netlink = create({
      monitorCommand: ['false'],
      respawnMinMs: 1,
      respawnMaxMs: 2,
      log: (_level, message) => ended.push(message),
    });
    const warnings: string[] = [];
    const onWarning = (warning: Error) => warnings.push(warning.message);
    process.on('warning', onWarning);
    const often = new Promise<void>((resolve) => {
      const timer = setInterval(() => {
        if (ended.length < 15) return;
        clearInterval(timer);
        resolve();
      }, 5);
    });
    netlink.start();
    await often;
    await netlink.close();
    process.off('warning', onWarning);
    assert.ok(wakes.includes('netlink: the monitor ended'));
    assert.match(ended[0] ?? '', /false ended .*starting it again in 1 ms/);
    assert.deepEqual(warnings, []);
  });

  test('a monitor that cannot be started is no failure of the reading', bounded, async () => {
    netlink = create({ monitorCommand: ['/nowhere/ip'], respawnMinMs: 60_000 });
    const woke = woken(/monitor ended/);
    netlink.start();
    await woke;
    assert.ok((await netlink.read())['lo']);
  });

  test('a flood of output without a newline wakes and fills no memory', bounded, async () => {
    const before = process.memoryUsage().rss;
    netlink = create({
      monitorCommand: [
        'sh',
        '-c',
        'head -c 100000000 /dev/zero; echo; echo "7: ztreal: <UP>"; exec sleep 60',
      ],
    });
    const woke = woken(/ztreal/);
    netlink.start();
    await woke;
    const grownMiB = (process.memoryUsage().rss - before) / 2 ** 20;
    assert.ok(grownMiB < 100, `grew by ${grownMiB.toFixed()} MiB`);
  });

  test('closing does not wait for what the child left behind', bounded, async () => {
    netlink = create({ monitorCommand: ['sh', '-c', 'sleep 8 & echo "7: ztreal: <UP>"; wait'] });
    const woke = woken(/ztreal/);
    netlink.start();
    await woke;
    const startedAt = performance.now();
    await netlink.close();
    assert.ok(performance.now() - startedAt < 3000);
  });

  test('closing ends the child', bounded, async () => {
    await watching();
    await netlink.close();
    const children = execFileSync('sh', ['-c', `pgrep -P ${process.pid} -x ip || true`], {
      encoding: 'utf8',
    });
    assert.equal(children, '');
  });
}

inOwnNamespaces(
  'the kernel’s interfaces are read and watched, in a namespace of their own',
  {
    file: import.meta.url,
    flags: ['--net', '--mount'],
    prepare: 'mount -t sysfs sysfs /sys && ip link set lo up',
    timeoutMs: 60_000,
  },
  () => describe('the kernel’s interfaces', tests),
);
