/**
 * The bed as tests and the demo see it: a node, home, and a client on the internet. Tests ask; the bed knows how, and
 * whether the stand-in or the real ZeroTier answers makes no difference to them.
 * Whatever `start` began, `stop` ends; so does the end of this process, however it comes.
 */
import { existsSync } from 'node:fs';
import { copyFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { MetadataCloud } from '../support/metadata/clouds.ts';
import type { Changes } from '../support/metadata/service.ts';
import { Client } from './client.ts';
import { BedCloud, setFirmware } from './cloud.ts';
import { authorizingItself, type ExampleValues, renderExample } from './example.ts';
import { Home } from './home.ts';
import { type End, Network } from './network.ts';
import { BedNode } from './node.ts';
import { BedError, sha256, waitFor } from './process.ts';
import { ensureBase } from './root.ts';
import { Run } from './run.ts';
import { parseStatus, type StatusDocument } from './status.ts';
import { buildNodePackage, faultPort, homeNetwork, standinOptions } from './zerotier.ts';

const projectDir = join(import.meta.dirname, '../..');

/** How to start a bed. */
export interface BedOptions {
  /** The node's user data, made from today's values; the example where absent, none where false. */
  readonly userData?: ((values: ExampleValues) => string | Promise<string>) | false;
  /** The node authorises itself at home's controller, with the address that it has else. */
  readonly authorizesItself?: boolean;
  /** mooring's package; what `make deb` built where absent. */
  readonly deb?: string;
  /** `node1` unless told. */
  readonly hostname?: string;
  /** The cloud that the node is at: its metadata service at 169.254.169.254, and its firmware as mooring reads it. */
  readonly cloud?: MetadataCloud;
  /**
   * Divides the waits of ZeroTier's protocol on the node, such as the minute until a member notices that it was refused.
   * Only the stand-in can be hurried: deadlines must suit the real one all the same.
   */
  readonly hurry?: number;
  /** false: leave the node off, so that a test may prepare its root first. */
  readonly boot?: boolean;
  /** Allows `keep()`. */
  readonly mayKeep?: boolean;
  /** Hears about steps that take long. */
  readonly tell?: (line: string) => void;
}

export class Bed {
  readonly node: BedNode;
  readonly home: Home;
  readonly client: Client;
  /** The metadata service that the node finds; not started unless told. */
  readonly cloud: BedCloud;
  /** What the node's user data was made from. */
  readonly values: ExampleValues;
  readonly #run: Run;
  readonly #network: Network;

  private constructor(run: Run, network: Network, home: Home, node: BedNode, values: ExampleValues) {
    this.node = node;
    this.home = home;
    this.client = new Client(run, network.netns('client'));
    this.cloud = new BedCloud(run, network.netns('client'));
    this.values = values;
    this.#run = run;
    this.#network = network;
  }

  /** Brings up home and the node. Returns when the node's systemd answers: cloud-init is then at work. */
  static async start(options: BedOptions = {}): Promise<Bed> {
    const run = Run.open({ mayOutlive: options.mayKeep ?? false });
    try {
      const base = await ensureBase(run, options.tell);
      const network = await Network.create(run);
      const home = await Home.start(run, network, base);
      const values = await publish(run, home, options.deb ?? (await builtDeb()));
      const rendered =
        options.userData === false ? undefined : await (options.userData ?? renderExample)(values);
      const userData =
        rendered !== undefined && options.authorizesItself === true
          ? authorizingItself(rendered, home.zerotier.controllerApi, homeNetwork.node)
          : rendered;
      const seed = { hostname: options.hostname ?? 'node1', userData };
      const node = await BedNode.create(run, base, network.netns('node'), seed);
      if (home.zerotier.variant.kind === 'stand-in') {
        await node.prepareFile(
          '/var/lib/zerotier-one/standin.json',
          standinOptions({ speed: options.hurry ?? 1 }),
        );
      }
      const bed = new Bed(run, network, home, node, values);
      if (options.cloud !== undefined) await bed.moveTo(options.cloud);
      if (options.boot !== false) await node.boot();
      return bed;
    } catch (error) {
      run.end();
      throw error;
    }
  }

  /** Ends everything. Safe to repeat. */
  async stop(): Promise<void> {
    this.#run.end();
  }

  /** Leaves everything up when this process exits; needs `mayKeep`. The next bed sweeps it away. */
  keep(): void {
    this.#run.keep();
  }

  /** Folder of this run, with the logs of all programs. */
  get dir(): string {
    return this.#run.dir;
  }

  /** mooring's package as the node downloads it, on the host. */
  get deb(): string {
    return join(this.#run.dir, 'www/mooring.deb');
  }

  /** The k3s program, likewise. */
  get k3s(): string {
    return join(this.#run.dir, 'www/k3s');
  }

  /** zerotier-one's package, on the host. */
  get zerotierDeb(): string {
    return join(this.#run.dir, 'zerotier-one.deb');
  }

  /** Name of a network namespace, for a person who wants to get in. */
  netns(end: End): string {
    return this.#network.netns(end);
  }

  /** ZeroTier's id of the network that is home's. */
  get networkId(): string {
    return this.home.zerotier.networkId;
  }

  /** The node's address in ZeroTier, as the controller knows it since the node first asked. Waits for that. */
  async nodeMember(timeoutMs = 60_000): Promise<string> {
    return waitFor(
      'the node to ask the controller',
      async () => {
        const members = await this.home.zerotier.members();
        if (members.length > 1) throw new BedError(`more than one node asked: ${JSON.stringify(members)}`);
        return members[0]?.address;
      },
      { timeoutMs, everyMs: 250 },
    );
  }

  /** Authorises the node once it has asked, as a person at the console would. */
  async authorise(address: string = homeNetwork.node): Promise<void> {
    await this.home.scrape(address);
    await this.home.zerotier.authorise(await this.nodeMember(), [address]);
  }

  /** Takes the authorisation back. */
  async deauthorise(): Promise<void> {
    await this.home.zerotier.deauthorise(await this.nodeMember());
  }

  /** Gives the node another address; Prometheus follows. */
  async setAddress(address: string): Promise<void> {
    await this.home.zerotier.setAddresses(await this.nodeMember(), [address]);
    await this.home.scrape(address);
  }

  /** Cuts home off the underlay. Nobody's carrier drops. */
  async cut(): Promise<void> {
    await this.#network.cut('home');
  }

  /** Puts home back. */
  async heal(): Promise<void> {
    await this.#network.heal('home');
  }

  /** Restarts zerotier-one on the node: same name and address, new ifindex. */
  async restartZeroTier(): Promise<void> {
    await this.node.run(['systemctl', 'restart', 'zerotier-one.service']);
  }

  /**
   * A line for the node's shell that has ZeroTier make its device anew: same name and address, new ifindex. The quickest
   * way that there is.
   */
  get renewLinkLine(): string {
    if (this.home.zerotier.variant.kind === 'real')
      return 'systemctl reset-failed zerotier-one.service; systemctl restart zerotier-one.service';
    const fault = JSON.stringify({ renewTap: this.networkId });
    return `curl -sSf --max-time 5 --data '${fault}' http://127.0.0.1:${faultPort}/`;
  }

  /** A fault of the node's stand-in, as its README lists them. The real zerotier-one has none to offer. */
  async faultZeroTier(change: Readonly<Record<string, unknown>>): Promise<void> {
    if (this.home.zerotier.variant.kind === 'real')
      throw new BedError('the real zerotier-one has no fault port');
    const post = ['curl', '-sSf', '--max-time', '5', '--data', JSON.stringify(change)];
    await this.node.run([...post, `http://127.0.0.1:${faultPort}/`]);
  }

  /** mooring's own view, or undefined while it does not answer. */
  async status(): Promise<StatusDocument | undefined> {
    const result = await this.node.tryRun(['mooring', 'status', '--json'], { timeoutMs: 10_000 });
    return parseStatus(result.stdout);
  }

  /** Waits until a condition of mooring is so. */
  async waitForCondition(
    type: string,
    status: 'true' | 'false' | 'unknown',
    timeoutMs: number,
  ): Promise<void> {
    await waitFor(
      `${type}=${status}`,
      async () => (await this.status())?.conditions.some((c) => c.type === type && c.status === status),
      { timeoutMs, everyMs: 250, context: () => this.report() },
    );
  }

  /** Waits until mooring says Ready. */
  async waitForReady(timeoutMs = 180_000): Promise<void> {
    await this.waitForCondition('Ready', 'true', timeoutMs);
  }

  /** Everything a person wants to see after a failure. */
  async report(): Promise<string> {
    const parts: [string, () => Promise<string>][] = [
      ['mooring status', async () => (await this.node.tryRun(['mooring', 'status'])).stdout],
      ['failed units', () => this.node.run(['systemctl', '--no-pager', '--failed'])],
      ['cloud-init output', () => this.node.run('tail -n 40 /var/log/cloud-init-output.log')],
      ["the node's journal", () => this.node.journal({ lines: 300 })],
      ['home', () => this.home.logs()],
    ];
    const told: string[] = [];
    for (const [title, read] of parts) {
      const text = await read().catch(
        (error: unknown) => `(${error instanceof Error ? error.message : 'unreadable'})`,
      );
      told.push(`---- ${title}\n${text}`);
    }
    return told.join('\n');
  }

  /** Makes the node, which is off, one of this cloud. */
  async moveTo(cloud: MetadataCloud, changes: Changes = {}): Promise<void> {
    await this.cloud.stop();
    await setFirmware(this.node, cloud);
    await this.cloud.start(cloud, changes);
  }
}

/** Puts what the node will download on the server. */
async function publish(run: Run, home: Home, deb: string): Promise<ExampleValues> {
  const zerotierDeb = await buildNodePackage(run, home.zerotier.variant, join(run.dir, 'zerotier-deb'));
  await copyFile(zerotierDeb, join(run.dir, 'zerotier-one.deb'));
  return {
    networkId: home.zerotier.networkId,
    k3sToken: await home.k3sToken(),
    ...(await home.publishK3s()),
    mooringUrl: await home.publish('mooring.deb', deb),
    mooringSha256: await sha256(deb),
    zerotierUrl: await home.publishZeroTier(zerotierDeb),
  };
}

/** What `make deb` built. */
async function builtDeb(): Promise<string> {
  const text = await readFile(join(projectDir, 'package.json'), 'utf8');
  const version = /"version": "([^"]+)"/.exec(text)?.[1] ?? '';
  const deb = join(projectDir, 'build', `mooring_${version}_amd64.deb`);
  if (!existsSync(deb)) throw new BedError(`there is no ${deb}: run \`make deb\` first`);
  return deb;
}
