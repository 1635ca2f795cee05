/**
 * The faults of the real node. Each begins by making the fault and seeing, past mooring, that it took effect; what it
 * returns ends it. What is not drawn, and why, stands at the end.
 */
import { ingressUnit, k3sUnit, type Scene } from './scene.ts';

/** What a fault lays hands on. Only faults that share nothing overlap. */
type Part = 'zerotier' | 'home' | 'resolved' | 'bus' | 'k3s' | 'ingress' | 'mooring';

export interface Fault {
  readonly name: string;
  readonly touches: readonly Part[];
  /** How many starts of k3s it gives mooring a reason for, at most. */
  readonly k3sStarts: number;
  /** Only the stand-in for zerotier-one can be made to do it. */
  readonly standinOnly?: boolean;
  /** Nothing is returned where it was over as soon as it happened. */
  readonly begin: (scene: Scene) => Promise<(() => Promise<void>) | undefined>;
}

type Rest = Pick<Fault, 'touches' | 'k3sStarts'>;

/** A unit's main process is another one afterwards; PID 1 sees to that. */
const replaced = (name: string, unit: string, verb: 'restart' | 'kill', rest: Rest): Fault => ({
  name,
  ...rest,
  begin: async (scene) => {
    const former = await scene.pid(unit);
    const command = verb === 'restart' ? ['restart'] : ['kill', '--kill-whom=main', '-s', 'KILL'];
    await scene.strike('systemctl', ...command, unit);
    await scene.sees(`another process of ${unit}`, async () => (await scene.pid(unit)) !== former);
    return undefined;
  },
});

const apiSpoiled = (api: 'hang' | 'garbage' | '401', seen: RegExp): Fault => ({
  name: `zerotier-one's API: ${api}`,
  touches: ['zerotier'],
  k3sStarts: 0,
  standinOnly: true,
  begin: async (scene) => {
    await scene.bed.faultZeroTier({ api });
    await scene.sees(api, async () => seen.test(await scene.askZeroTier('GET', '/status')));
    return () => scene.bed.faultZeroTier({ api: '' });
  },
});

const serverAway = (mode: 'refuse' | 'hang', seen: RegExp): Fault => ({
  name: `the k3s server: ${mode}`,
  touches: ['home'],
  k3sStarts: 0,
  begin: async (scene) => {
    await scene.bed.home.k3sMode(mode);
    const ping = 'curl -sSk --max-time 1 https://10.45.0.1:6443/ping 2>&1 || true';
    await scene.sees(mode, async () => seen.test(await scene.run('sh', '-c', ping)));
    return () => scene.bed.home.k3sMode('ok');
  },
});

/** A third party writes the link's DNS. It may be mended before anybody can look: then mooring's own count shows it. */
const dnsMeddled = (name: string, command: string, isSeen: (dns: string) => boolean): Fault => ({
  name,
  touches: ['resolved', 'bus', 'mooring', 'zerotier'],
  k3sStarts: 0,
  begin: async (scene) => {
    const mended = await scene.dnsSets();
    await scene.strike('sh', '-c', `resolvectl ${command}`, 'sh', scene.device);
    await scene.sees(name, async () => {
      return isSeen((await scene.look()).dns) || (await scene.dnsSets()) > mended;
    });
    return undefined;
  },
});

/** mooring cannot write below /etc/rancher while the node gets another address. Made in the mounts that mooring sees. */
const unwritable = (name: string, mount: string, seen: RegExp): Fault => ({
  name: `${name}, and the address changes`,
  touches: ['home', 'zerotier', 'mooring', 'k3s'],
  k3sStarts: 1,
  begin: async (scene) => {
    const folder = '/etc/rancher/k3s/config.yaml.d';
    const inside = ['nsenter', '-m', '-t', await scene.pid('mooring.service')];
    const unmount = async () => {
      await scene.run(...inside, 'umount', folder);
    };
    try {
      await scene.run(...inside, 'sh', '-eu', '-c', mount, 'mount', folder);
      const write = `head -c 65536 /dev/zero >${folder}/probe`;
      const tried = await scene.bed.node.tryRun([...inside, 'sh', '-c', write]);
      if (!seen.test(tried.stderr)) throw new Error(`mooring can still write: ${tried.stderr}`);
      await readdress(scene);
    } catch (error) {
      await unmount().catch(() => undefined);
      throw error;
    }
    return unmount;
  },
});

/** What flannel made is taken away, and the agent never looks: mooring restarts it. */
const flannelMeddled = (name: string, command: string, isSeen: string): Fault => ({
  name,
  touches: ['k3s', 'zerotier'],
  k3sStarts: 1,
  begin: async (scene) => {
    await scene.strike('sh', '-c', command);
    await scene.sees(name, async () => (await scene.bed.node.tryRun(isSeen)).exitCode === 0);
    return undefined;
  },
});

/** Gives the node the next address and sees it on the device. */
async function readdress(scene: Scene): Promise<void> {
  const former = scene.address;
  scene.address = scene.nextAddress();
  await scene.bed.setAddress(scene.address);
  scene.struck();
  await scene.sees(`${scene.address} in place of ${former}`, async () => {
    return (await scene.look()).addresses === `${scene.address}/24`;
  });
}

export const faults: readonly [Fault, ...Fault[]] = [
  replaced('zerotier-one restarted', 'zerotier-one.service', 'restart', {
    touches: ['zerotier'],
    k3sStarts: 1,
  }),
  replaced('zerotier-one killed', 'zerotier-one.service', 'kill', { touches: ['zerotier'], k3sStarts: 1 }),
  {
    name: 'zerotier-one restarted three times',
    touches: ['zerotier'],
    k3sStarts: 3,
    begin: async (scene) => {
      for (let time = 0; time < 3; time += 1) {
        const { ifindex } = await scene.look();
        await scene.strike('systemctl', 'restart', 'zerotier-one.service');
        await scene.sees('a new ifindex', async () => !['', ifindex].includes((await scene.look()).ifindex));
      }
      return undefined;
    },
  },
  apiSpoiled('hang', /timed out/i),
  apiSpoiled('garbage', /\[ 200$/),
  apiSpoiled('401', / 401$/),
  {
    name: 'another address',
    touches: ['zerotier', 'home'],
    k3sStarts: 1,
    begin: async (scene) => {
      await readdress(scene);
      return undefined;
    },
  },
  {
    name: 'not authorised for a while',
    touches: ['zerotier', 'home'],
    // Longer than k3s.restart.outage, it is an outage.
    k3sStarts: 1,
    begin: async (scene) => {
      await scene.bed.deauthorise();
      const refused = async () => (await scene.askZeroTier('GET', '/network')).includes('ACCESS_DENIED');
      await scene.sees('ACCESS_DENIED', refused, 100_000);
      return () => scene.bed.authorise(scene.address);
    },
  },
  {
    name: 'home cut off the underlay',
    touches: ['home'],
    k3sStarts: 0,
    begin: async (scene) => {
      await scene.bed.cut();
      await scene.sees('no answer from home', async () => {
        return (await scene.bed.node.tryRun(['ping', '-c1', '-W1', '10.45.0.1'])).exitCode === 1;
      });
      return () => scene.bed.heal();
    },
  },
  {
    name: 'the interface set down',
    touches: ['zerotier'],
    k3sStarts: 1,
    begin: async (scene) => {
      await scene.run('ip', 'link', 'set', scene.device, 'down');
      await scene.sees('down', async () => (await scene.look()).addresses === '');
      return async () => {
        await scene.run('ip', 'link', 'set', scene.device, 'up');
      };
    },
  },
  {
    name: 'the address deleted',
    touches: ['zerotier'],
    k3sStarts: 1,
    begin: async (scene) => {
      await scene.run('ip', 'addr', 'del', `${scene.address}/24`, 'dev', scene.device);
      await scene.sees('no address', async () => (await scene.look()).addresses === '');
      // ZeroTier never puts it back by itself; a person who restarts it does.
      return async () => {
        if ((await scene.look()).addresses === '') await scene.bed.restartZeroTier();
      };
    },
  },
  {
    name: 'the connected route deleted',
    touches: ['zerotier'],
    k3sStarts: 1,
    begin: async (scene) => {
      const route = ['ip', 'route', 'show', 'dev', scene.device, 'scope', 'link'] as const;
      const network = (await scene.run(...route)).split(' ')[0] ?? '';
      await scene.run('ip', 'route', 'del', network, 'dev', scene.device);
      await scene.sees('no route', async () => !(await scene.run(...route)).includes(network));
      // Neither kernel nor ZeroTier makes it anew while the address stays.
      return async () => {
        if (!(await scene.run(...route)).includes(network)) await scene.bed.restartZeroTier();
      };
    },
  },
  {
    name: 'the interface deleted',
    touches: ['zerotier'],
    k3sStarts: 1,
    begin: async (scene) => {
      const id = scene.bed.networkId;
      await scene.run('ip', 'link', 'del', scene.device);
      await scene.sees('no interface', async () => (await scene.look()).ifindex === '');
      // ZeroTier never makes it anew by itself. A network that a person has left is joined by mooring.
      return async () => {
        if ((await scene.look()).ifindex === '') await scene.askZeroTier('DELETE', `/network/${id}`);
      };
    },
  },
  dnsMeddled("the link's DNS changed by others", 'dns "$1" 192.0.2.1', (dns) => dns.endsWith('192.0.2.1')),
  dnsMeddled("the link's DNS reverted by others", 'revert "$1"', (dns) => dns.endsWith(':')),
  replaced('systemd-resolved restarted', 'systemd-resolved.service', 'restart', {
    touches: ['resolved'],
    k3sStarts: 0,
  }),
  replaced('systemd-resolved killed', 'systemd-resolved.service', 'kill', {
    touches: ['resolved'],
    k3sStarts: 0,
  }),
  replaced('the D-Bus daemon restarted', 'dbus.service', 'restart', {
    touches: ['bus', 'resolved'],
    k3sStarts: 0,
  }),
  replaced('systemd-networkd restarted', 'systemd-networkd.service', 'restart', {
    touches: ['bus'],
    k3sStarts: 0,
  }),
  replaced('k3s killed', k3sUnit, 'kill', { touches: ['k3s'], k3sStarts: 1 }),
  replaced('the nginx master killed', ingressUnit, 'kill', { touches: ['ingress'], k3sStarts: 0 }),
  serverAway('refuse', /refused|Could not connect|Couldn't connect/i),
  serverAway('hang', /timed out/i),
  replaced('mooring killed', 'mooring.service', 'kill', { touches: ['mooring'], k3sStarts: 0 }),
  {
    name: 'mooring stopped (SIGSTOP)',
    touches: ['mooring'],
    k3sStarts: 0,
    begin: async (scene) => {
      const pid = await scene.pid('mooring.service');
      await scene.run('sh', '-c', 'kill -s STOP "$1"', 'sh', pid);
      await scene.sees('a stopped process', async () => {
        return /^State:\s+T/m.test(await scene.run('cat', `/proc/${pid}/status`));
      });
      return async () => {
        await scene.run('sh', '-c', 'kill -s CONT "$1"', 'sh', pid);
      };
    },
  },
  unwritable(
    '/etc/rancher read-only',
    'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"',
    /Read-only/,
  ),
  unwritable(
    '/etc/rancher full',
    `cp -a "$1" /tmp/chaos-full
     mount -t tmpfs -o size=64k chaos "$1"
     cp -a /tmp/chaos-full/. "$1"
     rm -r /tmp/chaos-full
     head -c 1048576 /dev/zero >"$1/ballast" 2>/dev/null || true`,
    /No space left/,
  ),
  flannelMeddled('flannel.1 deleted', 'ip link del flannel.1', '! test -e /sys/class/net/flannel.1'),
  flannelMeddled(
    "flannel's routes flushed",
    'ip route flush dev flannel.1',
    '! ip route show dev flannel.1 | grep -q .',
  ),
];

/** What belongs here and is not drawn. The report says so. */
export const notDrawn: Readonly<Record<string, string>> = {
  'the clock jumps an hour': "the node is a container: its clock is the host's, and it may not set it",
};
