/**
 * `make demo`: boots the node with the example's user data and shows, as it happens, how it becomes a member of the
 * cluster; then looks from all sides. 0 only if everything shown is true. A failure names the stage it stuck in and
 * prints the node's journal. KEEP=1 leaves it up.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Bed } from './bed.ts';
import { BedError, waitFor } from './process.ts';
import type { StatusDocument } from './status.ts';
import { homeNetwork } from './zerotier.ts';

/** How long the whole way may take. */
const totalMs = 240_000;

type Conditions = StatusDocument['conditions'];
const isTrue = (conditions: Conditions, type: string) =>
  conditions.some((condition) => condition.type === type && condition.status === 'true');
const reasonOf = (conditions: Conditions, type: string) =>
  conditions.find((condition) => condition.type === type)?.reason ?? '';

/** The way, in the order a person expects; each stage is told when it is first seen. */
const stages: readonly { name: string; seen: (conditions: Conditions) => boolean; says: string }[] = [
  {
    name: 'joined',
    seen: (c) =>
      ['RequestingConfiguration', 'AccessDenied', 'Authorized'].includes(reasonOf(c, 'NetworkAuthorized')),
    says: 'the node asked to be let into the network',
  },
  { name: 'authorised', seen: (c) => isTrue(c, 'NetworkAuthorized'), says: 'the controller said yes' },
  { name: 'link', seen: (c) => isTrue(c, 'LinkReady'), says: 'the interface is up and has its address' },
  {
    name: 'dns',
    seen: (c) => isTrue(c, 'DnsConfigured') && reasonOf(c, 'DnsConfigured') !== 'NothingPushed',
    says: 'names of home are asked through the link',
  },
  { name: 'k3s', seen: (c) => isTrue(c, 'K3sRunning'), says: 'the agent joined its server' },
  { name: 'ingress', seen: (c) => isTrue(c, 'IngressRunning'), says: 'the doors on 80 and 443 are open' },
  { name: 'moored', seen: (c) => isTrue(c, 'Ready'), says: 'everything together' },
];

const keep = process.env['KEEP'] === '1';
const print = (line = '') => process.stdout.write(`${line}\n`);

async function main(): Promise<number> {
  print('Starting home: ZeroTier root and controller, DNS, k3s server, Prometheus; then the node boots.');
  const bed = await Bed.start({ mayKeep: keep, tell: print });
  let stage = 'boot';
  try {
    await watchTheWay(bed, (name) => {
      stage = name;
    });
    stage = 'cloud-init';
    await bed.node.waitForCloudInit(60_000);
    await lookAround(bed, (name) => {
      stage = name;
    });
    print('\nAll true.');
    return 0;
  } catch (error) {
    print(`\nFAILED in the stage "${stage}": ${error instanceof Error ? error.message : String(error)}\n`);
    print(await bed.report());
    return 1;
  } finally {
    if (keep) leaveUp(bed);
    else await bed.stop();
  }
}

/** Follows the node's own status until it says Ready; authorises it when it has been refused. */
async function watchTheWay(bed: Bed, entering: (stage: string) => void): Promise<void> {
  const sinceBoot = () => `${((performance.now() - bed.node.bootedAtMs) / 1000).toFixed(1).padStart(6)} s`;
  const tell = (name: string, says: string) => print(`${sinceBoot()}  ${name.padEnd(12)}${says}`);
  tell('booting', "cloud-init is at work with the example's user data");
  const waiting = [...stages];
  let installed = false;
  let authorised = false;
  let last: StatusDocument | undefined;
  entering('installation by cloud-init');
  while (waiting.length > 0) {
    if (performance.now() - bed.node.bootedAtMs > totalMs) {
      throw new BedError(
        `not moored after ${totalMs / 1000} s; mooring says: ${last?.sentence ?? '(no status)'}`,
      );
    }
    const status = await bed.status();
    if (status === undefined) {
      await failEarly(bed);
      await delay(300);
      continue;
    }
    last = status;
    if (!installed) tell('installed', 'the package is there and mooring runs');
    installed = true;
    for (const stage of waiting.filter(({ seen }) => seen(status.conditions))) {
      tell(stage.name, stage.says);
      waiting.splice(waiting.indexOf(stage), 1);
    }
    entering(waiting[0]?.name ?? 'after Ready');
    if (!authorised && reasonOf(status.conditions, 'NetworkAuthorized') === 'AccessDenied') {
      tell('refused', `ACCESS_DENIED; a person at the controller now authorises ${await bed.nodeMember()}`);
      await bed.authorise();
      authorised = true;
    }
    await delay(300);
  }
}

/** Throws where cloud-init has ended with an error: nothing more will come. */
async function failEarly(bed: Bed): Promise<void> {
  const state = await bed.node.tryRun(['cloud-init', 'status']);
  if (state.stdout.includes('error')) await bed.node.waitForCloudInit(10_000);
}

/** Looks at the moored node from inside, from the internet, and from home. Throws where something is not so. */
async function lookAround(bed: Bed, entering: (stage: string) => void): Promise<void> {
  entering('mooring status');
  show('mooring status', await bed.node.run(['mooring', 'status']));

  entering('DNS from inside the node');
  const resolved = await bed.node.run(['resolvectl', 'query', 'nas.home.example']);
  expect(resolved, '10.45.0.20');
  show('resolvectl query nas.home.example, inside the node', resolved);

  entering('HTTP from the internet');
  const http = await bed.client.http(80, { path: '/hello' });
  expect(`${http.status}`, '200');
  show('curl http://10.99.0.2/hello, from the internet', http.body);

  entering('HTTPS from the internet');
  const https = await bed.client.http(443, { tls: true, path: '/hello' });
  expect(`${https.status}`, '200');
  show('curl https://10.99.0.2/hello, from the internet', https.body);

  entering('UDP from the internet');
  const echo = await bed.client.udpEcho(443, 'ahoy');
  expect(echo, 'ahoy');
  show('a datagram "ahoy" to 10.99.0.2:443, from the internet', echo);

  entering('Prometheus at home');
  const ready = await waitFor(
    'Prometheus to scrape mooring_ready 1',
    async () => {
      const series = await bed.home.prometheusQuery('mooring_ready == 1');
      return series.length === 1 && series;
    },
    { timeoutMs: 15_000, everyMs: 500 },
  );
  const scraped = await bed.home.prometheusQuery('{__name__=~"mooring_.*"}');
  const lines = [...ready, ...scraped.filter(({ labels }) => !/_bucket$/.test(labels['__name__'] ?? ''))].map(
    series,
  );
  show(`what Prometheus at home scraped from ${homeNetwork.node}:9810`, [...new Set(lines)].join('\n'));
}

function series({ labels, value }: { labels: Readonly<Record<string, string>>; value: number }): string {
  const shown = Object.entries(labels).filter(([name]) => !['__name__', 'job', 'instance'].includes(name));
  return `${labels['__name__']}{${shown.map(([name, text]) => `${name}="${text}"`).join(',')}} ${value}`;
}

function expect(text: string, wanted: string): void {
  if (!text.includes(wanted)) throw new BedError(`expected ${wanted}, found:\n${text}`);
}

function show(title: string, text: string): void {
  print(`\n== ${title}\n${text.trimEnd()}`);
}

function leaveUp(bed: Bed): void {
  bed.keep();
  print('\nLeft up (KEEP=1). To get in:');
  print(`  node    ${bed.node.enterCommand().join(' ')} bash -l`);
  print(`  home    ip netns exec ${bed.netns('home')} bash`);
  print(`  client  ip netns exec ${bed.netns('client')} bash`);
  print(`  logs    ${bed.dir}`);
  print('To end it: node_modules/.bin/node test/bed/sweep.ts (the next run does so too).');
}

process.exitCode = await main();
