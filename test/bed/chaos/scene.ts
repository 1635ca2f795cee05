/**
 * The moored node that faults are made on: what is true of it, asked of the kernel, resolved, PID 1, the k3s server and
 * the client, and never of mooring alone. Whoever finds the node moored again found all of them to agree with mooring.
 */
import { metric } from '../ask.ts';
import type { Bed } from '../bed.ts';
import { BedError, waitFor } from '../process.ts';
import { homeNetwork } from '../zerotier.ts';

export const k3sUnit = 'k3s-node.service';
export const ingressUnit = 'mooring-ingress.service';
const k3sConfig = '/etc/rancher/k3s/config.yaml.d/50-mooring.yaml';

/** One look at the node. Empty texts where something could not be told. */
export interface Look {
  readonly readyz: string;
  readonly ifindex: string;
  /** Of the device, IPv4 with the prefix length. */
  readonly addresses: string;
  readonly dns: string;
  readonly domains: string;
  readonly nas: string;
  readonly k3sState: string;
  /** InvocationID of the running agent. */
  readonly k3sRun: string;
  readonly k3sInterface: string;
  readonly k3sAddress: string;
  /** The device that flannel.1 stands on: the agent made it, and the kernel deletes it together with that device. */
  readonly flannelParent: string;
  /** How many routes lead to pods of other nodes. */
  readonly flannelRoutes: string;
  /** Starts and restarts of the agent that mooring asked for since boot. */
  readonly k3sStarts: string;
}

/** Everything in one go, each question with a deadline of its own; one `name=value` a line. */
const lookScript = `d=$1
say() { echo "$1=$(timeout 3 sh -c "$2" look "$d" 2>/dev/null | tr '\\n' ' ')"; }
say readyz 'curl -s -o /dev/null --max-time 2 -w "%{http_code}" http://127.0.0.1:9810/readyz'
say ifindex 'cat /sys/class/net/$1/ifindex'
say addresses 'ip -4 -o addr show dev $1 up | sed -n "s/.* inet \\([^ ]*\\).*/\\1/p"'
say dns 'resolvectl dns $1'
say domains 'resolvectl domain $1'
say nas 'resolvectl query --cache=no --legend=no nas.home.example'
say k3sState 'systemctl show ${k3sUnit} -p ActiveState --value'
say k3sRun 'systemctl show ${k3sUnit} -p InvocationID --value'
say k3sInterface 'sed -n "s/^flannel-iface: *//p" ${k3sConfig}'
say k3sAddress 'sed -n "/^node-ip:/,/^[^ -]/s/^ *- *//p" ${k3sConfig}'
say flannelParent 'ip -d -o link show flannel.1 | sed -n "s/.* vxlan .* dev \\([^ ]*\\) .*/\\1/p"'
say flannelRoutes 'ip route show dev flannel.1 | grep -c .'
say k3sStarts 'curl -s --max-time 2 http://127.0.0.1:9810/metrics | sed -n "s/^mooring_unit_restarts_total{.*unit=.${k3sUnit}.*} //p" | paste -sd+ | sed "s/+/ + /g" | xargs -r expr'
`;

export class Scene {
  readonly bed: Bed;
  /** ZeroTier's device on the node. Its name never changes. */
  readonly device: string;
  /** What the controller gives the node. */
  address: string = homeNetwork.node;
  /** When the newest fault happened that was over at once; performance.now(). */
  struckAtMs = 0;
  /** The link and the agent on it when the node was last found moored. */
  #bound: Look | undefined;

  private constructor(bed: Bed, device: string) {
    this.bed = bed;
    this.device = device;
  }

  /** For a node that is moored. */
  static async of(bed: Bed): Promise<Scene> {
    const device = (await bed.status())?.networks[0]?.device;
    if (device === undefined) throw new BedError('mooring tells no network');
    return new Scene(bed, device);
  }

  /** The next address to give the node. Never the one that it has. */
  nextAddress(): string {
    const last = Number(this.address.split('.')[3]);
    return `10.45.0.${last >= 29 ? 17 : last + 1}`;
  }

  async look(): Promise<Look> {
    const text = await this.bed.node.run(['sh', '-c', lookScript, 'look', this.device]);
    const found = new Map(
      text.split('\n').map((line) => {
        const cut = line.indexOf('=');
        return [line.slice(0, cut), line.slice(cut + 1).trim()] as const;
      }),
    );
    const of = (name: keyof Look) => found.get(name) ?? '';
    return {
      readyz: of('readyz'),
      ifindex: of('ifindex'),
      addresses: of('addresses'),
      dns: of('dns'),
      domains: of('domains'),
      nas: of('nas'),
      k3sState: of('k3sState'),
      k3sRun: of('k3sRun'),
      k3sInterface: unquoted(of('k3sInterface')),
      k3sAddress: unquoted(of('k3sAddress')),
      flannelParent: of('flannelParent'),
      flannelRoutes: of('flannelRoutes'),
      k3sStarts: of('k3sStarts'),
    };
  }

  /** What keeps the node from being moored; empty where it is. */
  async amiss(look: Look): Promise<string[]> {
    const { device, address } = this;
    const is: readonly (readonly [boolean, string])[] = [
      [look.readyz === '200', `mooring's /readyz answers ${look.readyz || 'nothing'}`],
      [look.ifindex !== '', `${device} does not exist`],
      [look.addresses === `${address}/24`, `${device} has ${look.addresses || 'no address, or is down'}`],
      [
        look.dns === `Link ${look.ifindex} (${device}): ${homeNetwork.home}`,
        `resolved's servers: ${look.dns}`,
      ],
      [/ home\.example/.test(look.domains), `resolved's domains: ${look.domains}`],
      [/10\.45\.0\.20/.test(look.nas), `nas.home.example: ${look.nas || 'no answer'}`],
      [look.k3sState === 'active', `k3s is ${look.k3sState}`],
      [look.k3sInterface === device, `k3s is configured for the interface ${look.k3sInterface}`],
      [look.k3sAddress === address, `k3s is configured for the address ${look.k3sAddress}`],
      [Number(look.flannelRoutes) > 0, 'no route leads through flannel.1'],
      [look.flannelParent === device, `flannel.1 is on ${look.flannelParent || 'nothing'}`],
      [!this.#isStale(look), 'k3s still runs from before the link changed'],
    ];
    const wrong = is.filter(([isSo]) => !isSo).map(([, what]) => what);
    if (wrong.length > 0) return wrong;
    return [...(await this.#amissAtHome()), ...(await this.#amissOutside())];
  }

  /** Keeps what the node is moored with, for the next fault. */
  bind(look: Look): void {
    this.#bound = look;
  }

  /** Runs words inside the node; throws where they fail. */
  run(...words: readonly string[]): Promise<string> {
    return this.bed.node.run(words);
  }

  /** As run, for a fault that is over as soon as it happened: now. */
  async strike(...words: readonly string[]): Promise<void> {
    await this.run(...words);
    this.struck();
  }

  /** A fault happened now, and is over. */
  struck(): void {
    this.struckAtMs = performance.now();
  }

  /** How often mooring set DNS so far; 0 while it does not answer. */
  dnsSets(): Promise<number> {
    const series = 'mooring_actions_total{stage="dns",action="dns.set",result="ok"}';
    return metric(this.bed, series).catch(() => 0);
  }

  /** MainPID of a unit; `0` where it does not run. */
  pid(unit: string): Promise<string> {
    return this.bed.node.unitProperty(unit, 'MainPID');
  }

  /** Waits for a fault to be seen. A fault that nobody can see proves nothing. */
  async sees(what: string, probe: () => Promise<boolean>, timeoutMs = 15_000): Promise<void> {
    await waitFor(`the fault to take effect: ${what}`, probe, { timeoutMs, everyMs: 50 });
  }

  /** Asks the node's ZeroTier itself. */
  async askZeroTier(method: string, path: string): Promise<string> {
    const script =
      'printf "X-ZT1-Auth: %s" "$(cat /var/lib/zerotier-one/authtoken.secret)" | curl -sS --max-time 1 -H @- -w " %{http_code}" -X "$1" "http://127.0.0.1:9993$2"';
    const answer = await this.bed.node.tryRun(['sh', '-c', script, 'ask', method, path]);
    return answer.exitCode === 0 ? answer.stdout : answer.stderr;
  }

  /** The agent that runs was started for another interface or address than today's. */
  #isStale(look: Look): boolean {
    const bound = this.#bound;
    if (bound === undefined) return false;
    const isSame = bound.ifindex === look.ifindex && bound.addresses === look.addresses;
    return !isSame && bound.k3sRun === look.k3sRun;
  }

  async #amissAtHome(): Promise<string[]> {
    const nodes = JSON.stringify(await this.bed.home.k3sNodes());
    return nodes.includes(`"internalIPs":["${this.address}"]`) ? [] : [`the k3s server knows ${nodes}`];
  }

  /** The doors, each with a new connection. */
  async #amissOutside(): Promise<string[]> {
    const { client } = this.bed;
    const doors: readonly (readonly [string, () => Promise<boolean>])[] = [
      ['http', async () => (await client.http(80, { timeoutMs: 2000 })).status === 200],
      ['https', async () => (await client.http(443, { tls: true, timeoutMs: 2000 })).status === 200],
      ['udp', async () => (await client.udpEcho(443, 'chaos', 2000)) !== ''],
    ];
    const wrong: string[] = [];
    for (const [door, knock] of doors) {
      const isOpen = await knock().catch(() => false);
      if (!isOpen) wrong.push(`the door ${door} is shut`);
    }
    return wrong;
  }
}

function unquoted(text: string): string {
  return text.replace(/^"(.*)"$/, '$1');
}
