/**
 * ZeroTier at home: root, controller and member in one process. The program comes from a folder of one fixed shape:
 *   zerotier-one, planet (its only root at 10.99.0.1:9993), home/identity.secret and home/identity.public of that root.
 * The stand-in in standins/zerotier has that shape, and so has a folder with the real program (MOORING_BED_ZEROTIER).
 * Everything is asked through the controller's own HTTP API, so both are driven by the same calls. What only the
 * stand-in can do (its fault port) says so instead of pretending.
 */
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { underlay } from './network.ts';
import { BedError, waitFor } from './process.ts';
import type { Background, Run } from './run.ts';

const standinFolder = join(import.meta.dirname, 'standins/zerotier');

/** Where the stand-in listens for faults to make, on loopback beside the API. */
export const faultPort = 9994;

/** Which program the bed runs at both ends. */
export interface ZeroTierVariant {
  readonly kind: 'stand-in' | 'real';
  readonly folder: string;
}

/** The real program where MOORING_BED_ZEROTIER names its folder, else the stand-in. */
export function zeroTierVariant(): ZeroTierVariant {
  const folder = process.env['MOORING_BED_ZEROTIER'];
  if (folder === undefined || folder === '') return { kind: 'stand-in', folder: standinFolder };
  for (const part of ['zerotier-one', 'planet', 'home/identity.secret', 'home/identity.public']) {
    if (!existsSync(join(folder, part))) {
      throw new BedError(`MOORING_BED_ZEROTIER=${folder} holds no ${part}`);
    }
  }
  return { kind: 'real', folder };
}

/** Home's network and its address in it. */
export const homeNetwork = {
  cidr: '10.45.0.0/24',
  home: '10.45.0.1',
  /** The node's address unless a test sets another. */
  node: '10.45.0.17',
  domain: 'home.example',
} as const;

/** Builds the zerotier-one package for the node and returns its file. */
export async function buildNodePackage(run: Run, variant: ZeroTierVariant, outDir: string): Promise<string> {
  await mkdir(outDir, { recursive: true });
  const place = { part: 'setup' };
  await run.run([join(standinFolder, 'build-deb.sh'), outDir], place, { timeoutMs: 120_000 });
  const deb = (await run.run(['sh', '-c', 'ls "$1"/zerotier-one_*.deb', 'ls', outDir], place)).trim();
  if (variant.kind === 'stand-in') return deb;
  // The same package around the real program: unit and maintainer scripts are modelled on the real package's.
  const tree = join(outDir, 'unpacked');
  await run.run(['dpkg-deb', '-R', deb, tree], place);
  await run.run(
    ['install', '-m', '755', join(variant.folder, 'zerotier-one'), join(tree, 'usr/sbin/zerotier-one')],
    place,
  );
  await mkdir(join(tree, 'var/lib/zerotier-one'), { recursive: true });
  await copyFile(join(variant.folder, 'planet'), join(tree, 'var/lib/zerotier-one/planet'));
  await run.run(['dpkg-deb', '--root-owner-group', '-b', tree, deb], place, { timeoutMs: 120_000 });
  return deb;
}

/** A member as the controller tells it; only what the bed uses. */
interface Member {
  readonly address: string;
  readonly authorized: boolean;
}

export class HomeZeroTier {
  readonly variant: ZeroTierVariant;
  /** Ten hex digits. */
  readonly address: string;
  readonly networkId: string;
  readonly #run: Run;
  readonly #netns: string;
  readonly #token: string;

  private constructor(run: Run, netns: string, variant: ZeroTierVariant, address: string, token: string) {
    this.variant = variant;
    this.address = address;
    this.networkId = `${address}000001`;
    this.#run = run;
    this.#netns = netns;
    this.#token = token;
  }

  /** Starts the program, makes the network, and joins home to it. Returns when home has its address. */
  static async start(run: Run, netns: string): Promise<HomeZeroTier> {
    const variant = zeroTierVariant();
    const folder = join(run.dir, 'home-zerotier');
    await mkdir(folder);
    await copyFile(join(variant.folder, 'planet'), join(folder, 'planet'));
    for (const name of ['identity.secret', 'identity.public']) {
      await copyFile(join(variant.folder, 'home', name), join(folder, name));
    }
    if (variant.kind === 'stand-in') {
      // Hurried until home has its address: only the node's way is of interest.
      await writeFile(join(folder, 'standin.json'), standinOptions({ speed: 20 }));
    }
    const settings = { portMappingEnabled: false, allowManagementFrom: [`${underlay.node}/32`] };
    await writeFile(join(folder, 'local.conf'), `${JSON.stringify({ settings })}\n`);
    const program = run.start('home-zerotier', [join(variant.folder, 'zerotier-one'), '-U', folder], {
      netns,
      part: 'home',
    });
    const address = (await readFile(join(folder, 'identity.public'), 'utf8')).slice(0, 10);
    const token = await waitFor(
      "home's ZeroTier to make its API token",
      async () => (await readFile(join(folder, 'authtoken.secret'), 'utf8')) || undefined,
      { timeoutMs: 20_000, context: () => program.log() },
    );
    const home = new HomeZeroTier(run, netns, variant, address, token);
    await home.#makeNetwork(program);
    if (variant.kind === 'stand-in') await home.fault({ speed: 1 });
    return home;
  }

  /** The controller's own API as the node reaches it, and the token for it. */
  get controllerApi(): { readonly url: string; readonly token: string } {
    return { url: `http://${underlay.home}:9993`, token: this.#token };
  }

  /** Authorises a member; with addresses, these and no others are assigned to it. */
  async authorise(member: string, addresses?: readonly string[]): Promise<void> {
    const assigned = addresses === undefined ? {} : { ipAssignments: addresses, noAutoAssignIps: true };
    await this.#memberCall(member, { authorized: true, ...assigned });
  }

  /** Takes the authorisation back. The member notices at its next config request. */
  async deauthorise(member: string): Promise<void> {
    await this.#memberCall(member, { authorized: false });
  }

  /** Gives an authorised member other addresses; the controller pushes them. */
  async setAddresses(member: string, addresses: readonly string[]): Promise<void> {
    await this.#memberCall(member, { ipAssignments: addresses, noAutoAssignIps: true });
  }

  /** Changes the network itself: dns, mtu, routes, as the controller's API names them. Pushed to members. */
  async setNetwork(change: Readonly<Record<string, unknown>>): Promise<void> {
    await this.api('POST', `/controller/network/${this.networkId}`, change);
  }

  /** The members that are not home, in no order. Empty before the node's first config request. */
  async members(): Promise<Member[]> {
    const listed = await this.api('GET', `/controller/network/${this.networkId}/member`);
    const found: Member[] = [];
    for (const address of Object.keys(asRecord(listed))) {
      if (address === this.address) continue;
      const member = asRecord(
        await this.api('GET', `/controller/network/${this.networkId}/member/${address}`),
      );
      found.push({ address, authorized: member['authorized'] === true });
    }
    return found;
  }

  /** One call of home's local API. The answer is parsed JSON. */
  async api(method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown): Promise<unknown> {
    return this.#call(9993, method, path, body);
  }

  /** A fault of home's stand-in, as its README lists them. */
  async fault(change: Readonly<Record<string, unknown>>): Promise<void> {
    if (this.variant.kind === 'real') throw new BedError('the real zerotier-one has no fault port');
    await this.#call(faultPort, 'POST', '/', change);
  }

  async #makeNetwork(program: Background): Promise<void> {
    const { networkId } = this;
    await waitFor("home's ZeroTier to answer", () => this.api('GET', '/status'), {
      timeoutMs: 20_000,
      context: () => program.log(),
    });
    await this.setNetwork({
      name: 'home',
      private: true,
      mtu: 2800,
      dns: { domain: homeNetwork.domain, servers: [homeNetwork.home] },
      routes: [{ target: homeNetwork.cidr, via: null }],
      ipAssignmentPools: [{ ipRangeStart: '10.45.0.100', ipRangeEnd: '10.45.0.200' }],
      v4AssignMode: { zt: true },
    });
    await this.authorise(this.address, [homeNetwork.home]);
    await this.api('POST', `/network/${networkId}`, {});
    await waitFor(
      `home's address ${homeNetwork.home}`,
      async () => {
        const network = asRecord(await this.api('GET', `/network/${networkId}`));
        const device = network['portDeviceName'];
        if (network['status'] !== 'OK' || typeof device !== 'string') return false;
        const shown = await this.#inHome(['ip', '-4', '-o', 'addr', 'show', 'dev', device, 'up']);
        return shown.includes(` ${homeNetwork.home}/`);
      },
      { timeoutMs: 60_000, context: () => program.log() },
    );
  }

  async #memberCall(member: string, change: Readonly<Record<string, unknown>>): Promise<void> {
    await this.api('POST', `/controller/network/${this.networkId}/member/${member}`, change);
  }

  /** curl inside home, told everything on standard input: the token stays out of argv. */
  async #call(port: number, method: string, path: string, body?: unknown): Promise<unknown> {
    const lines = [
      `url = "http://127.0.0.1:${port}${path}"`,
      `request = "${method}"`,
      `header = "X-ZT1-Auth: ${this.#token}"`,
    ];
    if (body !== undefined)
      lines.push(`data = "${JSON.stringify(body).replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`);
    const answer = await this.#inHome(
      ['curl', '-sS', '--fail', '--max-time', '10', '-K', '-'],
      lines.join('\n'),
    );
    return answer === '' ? {} : JSON.parse(answer);
  }

  #inHome(command: readonly string[], input?: string): Promise<string> {
    return this.#run.run(command, { netns: this.#netns, part: 'home-commands' }, { input });
  }
}

/** Options of the stand-in, read from its home at start. */
export const standinOptions = (more: Readonly<Record<string, unknown>> = {}): string =>
  `${JSON.stringify({ control: faultPort, ...more })}\n`;

/** A JSON object's keys; empty for anything else. */
function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {};
}
