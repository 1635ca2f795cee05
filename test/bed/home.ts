/**
 * Home, beyond ZeroTier: DNS of the home zone, the k3s server, Prometheus, and the side that plays the public
 * internet to the node (a resolver that knows nothing of home, and an HTTP server with the packages).
 * All of it runs in home's namespace and belongs to the run.
 */
import { copyFile, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeZeroTierRepository } from './apt-repository.ts';
import { type HomeWeb, startHomeWeb } from './home-web.ts';
import type { Network } from './network.ts';
import { underlay } from './network.ts';
import { BedError, run as runCommand, sha256, waitFor } from './process.ts';
import type { Base } from './root.ts';
import type { Background, Run } from './run.ts';
import { HomeZeroTier, homeNetwork } from './zerotier.ts';

const k3sStandin = join(import.meta.dirname, 'standins/k3s/k3s');

/** The stand-in's control port, inside home. */
const k3sControl = 'http://127.0.0.1:6480';

/** Names of the home zone, all of which only home's DNS knows. */
export const homeNames = {
  'k3s.home.example': homeNetwork.home,
  'nas.home.example': '10.45.0.20',
} as const;

/** Where the node downloads from. */
export const downloads = `http://${underlay.home}:8080`;

/** The port mooring's health server is scraped at. */
const healthPort = 9810;

export class Home {
  readonly zerotier: HomeZeroTier;
  readonly #run: Run;
  readonly #netns: string;
  readonly #base: Base;
  readonly #targets: string;
  #k3s: Background | undefined;

  private constructor(run: Run, netns: string, base: Base, zerotier: HomeZeroTier) {
    this.zerotier = zerotier;
    this.#run = run;
    this.#netns = netns;
    this.#base = base;
    this.#targets = join(run.dir, 'prometheus-targets.json');
  }

  /** Starts everything and returns when it serves. */
  static async start(run: Run, network: Network, base: Base): Promise<Home> {
    const netns = network.netns('home');
    const zerotier = await HomeZeroTier.start(run, netns);
    const home = new Home(run, netns, base, zerotier);
    await mkdir(join(run.dir, 'www'));
    await symlink(base.aptDir, join(run.dir, 'www', 'apt'));
    home.#startServers();
    await home.startK3sServer();
    await home.#startPrometheus();
    await home.#waitForServers();
    return home;
  }

  /** Makes a file of the host downloadable and returns its URL. */
  async publish(name: string, hostFile: string): Promise<string> {
    await copyFile(hostFile, join(this.#run.dir, 'www', name));
    return `${downloads}/${name}`;
  }

  /** Makes the k3s program downloadable and tells its URL and hash. */
  async publishK3s(): Promise<{ k3sUrl: string; k3sSha256: string }> {
    const file = join(this.#run.dir, 'www', 'k3s');
    await this.#run.run([k3sStandin, 'standin-pack', file], { part: 'setup' });
    return { k3sUrl: `${downloads}/k3s`, k3sSha256: await sha256(file) };
  }

  /** Makes zerotier-one installable from a signed repository and returns its URL, in place of ZeroTier's own. */
  async publishZeroTier(deb: string): Promise<string> {
    await makeZeroTierRepository(this.#run, deb, join(this.#run.dir, 'www', 'zerotier'));
    return `${downloads}/zerotier`;
  }

  /** Runs a command in home's namespace. */
  run(command: readonly string[], options: { timeoutMs?: number; input?: string } = {}): Promise<string> {
    return this.#run.run(command, { netns: this.#netns, part: 'home-commands' }, options);
  }

  /** Starts the k3s server and waits until its port answers. */
  async startK3sServer(): Promise<void> {
    if (this.#k3s !== undefined) throw new BedError('the k3s server already runs');
    await mkdir(this.#k3sFolder(), { recursive: true });
    const k3s = this.#run.start('home-k3s', this.#k3sCommand(), {
      netns: this.#netns,
      part: 'home-k3s',
    });
    this.#k3s = k3s;
    await waitFor(
      'the k3s server',
      async () =>
        (await this.run(['curl', '-sk', '--max-time', '2', `https://${homeNetwork.home}:6443/ping`])) ===
        'pong',
      { timeoutMs: 20_000, context: () => k3s.log() },
    );
  }

  /** What a node needs to join the cluster, in k3s' own format. The same over restarts of the server. */
  async k3sToken(): Promise<string> {
    return (await readFile(join(this.#k3sFolder(), 'token'), 'utf8')).trim();
  }

  /** How the k3s server behaves, and its nodes; see the stand-in's README. `refuse` is a closed port. */
  async k3sMode(mode: 'ok' | 'refuse' | 'hang' | '503' | 'starting'): Promise<void> {
    await this.run(['curl', '-sSf', '--max-time', '5', '--data', mode, `${k3sControl}/mode`]);
  }

  /** Whom the cluster's API lets see all nodes; `controller` unless told. */
  async k3sAccess(who: 'controller' | 'kubelet' | 'nobody'): Promise<void> {
    await this.run(['curl', '-sSf', '--max-time', '5', '--data', who, `${k3sControl}/access`]);
  }

  /** Gives ports of Traefik's Service other NodePorts, by the ports' names; kube-proxy follows a second later. */
  async k3sNodePorts(ports: Readonly<Record<string, number>>): Promise<void> {
    await this.#tellK3s('nodeports', JSON.stringify(ports));
  }

  /** Whom the cluster's API lets see Services; `kubelet` unless told. */
  async k3sServiceAccess(who: 'kubelet' | 'controller' | 'nobody'): Promise<void> {
    await this.#tellK3s('service-access', who);
  }

  /** Cuts the connections of all watches at the API, or forgets the versions that they may go on from. */
  async k3sWatches(fault: 'cut' | 'forget'): Promise<void> {
    await this.#tellK3s('watches', fault);
  }

  /** Refuses all certificates that clients have shown so far, as if they had expired. */
  async revokeK3sCertificates(): Promise<void> {
    await this.#tellK3s('certificates', 'revoke');
  }

  /** Whether a disruption budget lets go of a pod that is to be evicted; `free` unless told. */
  async k3sBudget(state: 'free' | 'spent'): Promise<void> {
    await this.run(['curl', '-sSf', '--max-time', '5', '--data', state, `${k3sControl}/budget`]);
  }

  /** Adds a node of the cluster without a machine behind it; returns its pod network. */
  async addK3sPeer(name: string): Promise<string> {
    const told = await this.run(['curl', '-sSf', '--max-time', '5', '--data', name, `${k3sControl}/peers`]);
    return String(JSON.parse(told).podCIDR);
  }

  /** As `kubectl delete node`. */
  async deleteK3sNode(name: string): Promise<void> {
    await this.run(['curl', '-sSf', '--max-time', '5', '-X', 'DELETE', `${k3sControl}/nodes/${name}`]);
  }

  /** The nodes that joined, as the server knows them. */
  async k3sNodes(): Promise<unknown> {
    return JSON.parse(await this.run(['curl', '-sSf', '--max-time', '5', `${k3sControl}/nodes`]));
  }

  /** Ends the k3s server, as when the control plane reboots. The link stays. */
  async stopK3sServer(): Promise<void> {
    this.#run.killPart('home-k3s');
    await this.#k3s?.ended;
    this.#k3s = undefined;
  }

  /** Tells Prometheus at which ZeroTier address the node is scraped. */
  async scrape(address: string): Promise<void> {
    await writeFile(this.#targets, JSON.stringify([{ targets: [`${address}:${healthPort}`] }]));
  }

  /** An instant query; the values of its series by their labels. */
  async prometheusQuery(
    query: string,
  ): Promise<{ labels: Readonly<Record<string, string>>; value: number }[]> {
    const answer: unknown = JSON.parse(
      await this.run([
        ...['curl', '-sS', '--max-time', '5', '-G', 'http://127.0.0.1:9090/api/v1/query'],
        ...['--data-urlencode', `query=${query}`],
      ]),
    );
    return seriesOf(answer);
  }

  /** Has Prometheus' own tool look at metrics in text format; throws BedError with its complaints. */
  async checkMetrics(text: string): Promise<void> {
    await this.#run.run(
      [...this.#base.promtool, 'check', 'metrics'],
      { part: 'home-commands' },
      { input: text },
    );
  }

  /** Starts web servers at home's ZeroTier address: HAProxy, and what is behind it. */
  serveWeb(): Promise<HomeWeb> {
    return startHomeWeb(this.#run, this.#netns, homeNetwork.home);
  }

  /** What home's programs printed, for a failure's report. */
  async logs(): Promise<string> {
    const files = ['home-zerotier', 'home-k3s', 'home-dns', 'home-prometheus'];
    const script = 'for f in "$@"; do echo "== $f"; tail -n 25 "$f.log" 2>/dev/null; done';
    return runCommand(['sh', '-c', `cd ${this.#run.dir} && ${script}`, 'logs', ...files]);
  }

  async #tellK3s(path: string, body: string): Promise<void> {
    await this.run(['curl', '-sSf', '--max-time', '5', '--data', body, `${k3sControl}/${path}`]);
  }

  #k3sFolder(): string {
    return join(this.#run.dir, 'home-k3s');
  }

  #k3sCommand(): string[] {
    const names = Object.keys(homeNames).filter((name) => name.startsWith('k3s.'));
    return [
      ...[k3sStandin, 'server-standin', '--listen', `${homeNetwork.home}:6443`, '--data', this.#k3sFolder()],
      ...names.flatMap((name) => ['--tls-san', name]),
    ];
  }

  #startServers(): void {
    const place = { netns: this.#netns, part: 'home' };
    const records = Object.entries(homeNames).map(([name, address]) => `--host-record=${name},${address}`);
    const dnsmasq = [
      ...['dnsmasq', '--keep-in-foreground', '--conf-file=/dev/null', '--pid-file=', '--user=root'],
      ...[
        '--no-resolv',
        '--no-hosts',
        '--bind-dynamic',
        '--except-interface=lo',
        '--log-queries',
        '--log-facility=-',
      ],
    ];
    this.#run.start(
      'home-dns',
      [...dnsmasq, `--listen-address=${homeNetwork.home}`, `--local=/${homeNetwork.domain}/`, ...records],
      place,
    );
    // The resolver a cloud would give: every name is unknown to it, the home zone's above all.
    this.#run.start('cloud-dns', [...dnsmasq, `--listen-address=${underlay.home}`, '--address=/#/'], place);
    this.#run.start(
      'downloads',
      [
        'python3',
        '-m',
        'http.server',
        '8080',
        '--bind',
        underlay.home,
        '--directory',
        join(this.#run.dir, 'www'),
      ],
      place,
    );
  }

  async #startPrometheus(): Promise<void> {
    await this.scrape(homeNetwork.node);
    const config = join(this.#run.dir, 'prometheus.yml');
    await writeFile(
      config,
      `global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: mooring
    file_sd_configs:
      - {files: ['${this.#targets}'], refresh_interval: 1s}
`,
    );
    this.#run.start(
      'home-prometheus',
      [
        ...this.#base.prometheus,
        `--config.file=${config}`,
        `--storage.tsdb.path=${join(this.#run.dir, 'prometheus')}`,
        '--web.listen-address=127.0.0.1:9090',
      ],
      { netns: this.#netns, part: 'home' },
    );
  }

  async #waitForServers(): Promise<void> {
    const options = { timeoutMs: 20_000, context: () => this.logs() };
    const answers = (url: string) => async () => {
      await this.run(['curl', '-sSf', '--max-time', '2', '-o', '/dev/null', url]);
      return true;
    };
    await waitFor('the download server', answers(`${downloads}/apt/Packages`), options);
    await waitFor('Prometheus', answers('http://127.0.0.1:9090/-/ready'), options);
  }
}

/** Reads Prometheus' answer of type vector. */
function seriesOf(answer: unknown): { labels: Record<string, string>; value: number }[] {
  const data = field(answer, 'data');
  const result = field(data, 'result');
  if (!Array.isArray(result)) throw new BedError(`Prometheus answered ${JSON.stringify(answer)}`);
  return result.map((series: unknown) => {
    const metric = field(series, 'metric');
    const sample = field(series, 'value');
    const labels: Record<string, string> = {};
    if (typeof metric === 'object' && metric !== null) {
      for (const [name, value] of Object.entries(metric)) labels[name] = String(value);
    }
    return { labels, value: Number(Array.isArray(sample) ? sample[1] : Number.NaN) };
  });
}

function field(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  return Object.entries(value).find(([key]) => key === name)?.[1];
}
