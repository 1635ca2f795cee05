/**
 * Ten thousand drawn ingress entries, friendly and hostile: each is refused by the config's check, or renders to a config
 * that the real nginx takes and that passes connections on to the entry's own upstreams and to nobody else.
 */
import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { stringify } from 'yaml';
import { renderLimits } from '#src/agent/render/nft-limits.ts';
import { generationSocket, renderNginxConf } from '#src/agent/render/nginx-conf.ts';
import { listensOf } from '#src/agent/render/nginx-listens.ts';
import { probed, probeSource } from '#src/agent/render/nginx-probe.ts';
import { upstreamsStage } from '#src/agent/stages/upstreams.ts';
import type { ServedEntry } from '#src/agent/upstreams.ts';
import { parseConfig } from '#src/config/parse.ts';
import type { IngressConfig } from '#src/config/schema.ts';
import { listService } from '#src/systems/cluster/services.ts';
import { SystemError } from '#src/systems/error.ts';
import { type Random, seeded } from '../support/random.ts';
import { aConfig, aHost, aMemory, at, aWorld } from '../support/world.ts';
import { createNginxCheck, type NginxCheck } from './nginx-check.ts';

const entries = 10_000;
/** As many as a config may have. */
const perConfig = 64;

const hostile = [
  '127.0.0.1:80; } http { server { listen 8080; } }',
  '127.0.0.1:80\nproxy_pass evil:1',
  '10.0.0.1:80 backup; server 6.6.6.6:1',
  '$remote_addr:80',
  '$evil{}',
  '127.0.0.1:80#',
  'unix:/run/evil.sock',
  'evil.example:80',
  '[::1%eth0]:80',
  '0x7f.1:80',
  '10.0.0.1:080',
  '\u{ff11}0.0.0.1:80',
  '10.0.0.0/8; allow all',
  '::/0',
  '0.0.0.0/0',
  '10.0.0.1/00',
  '::ffff:10.0.0.1',
  'all',
  'unix:',
  '../../secrets',
  'kube-system/traefik?watch=true',
  'kube-system/../secrets',
  '"',
  "'",
  '\\',
  '{}',
  '\u0000',
  '\u2028',
  'a'.repeat(5_000),
  '',
] as const;

const address = (random: Random) =>
  random.chance(0.3)
    ? `fd00::${random.between(0, 65_535).toString(16)}`
    : [1, 2, 3, 4].map(() => random.between(0, 255)).join('.');
const upstreamAddress = (random: Random) => {
  const host = address(random);
  return `${host.includes(':') ? `[${host}]` : host}:${random.between(0, 66_000)}`;
};
const odd = (random: Random): unknown =>
  random.chance(0.5)
    ? random.pick(hostile)
    : random.pick([null, true, -1, 0, 1, 1.5, 1e308, 65_536, [], {}, [[]], { address: 1 }]);
/** What `usual` gives, or now and then something odd. */
const mostly = (random: Random, usual: () => unknown): unknown =>
  random.chance(0.03) ? odd(random) : usual();
const list = (random: Random, most: number, item: () => unknown) =>
  Array.from({ length: random.between(1, most) }, () => mostly(random, item));

const drawList = (random: Random) =>
  list(random, 4, () =>
    random.chance(0.6)
      ? upstreamAddress(random)
      : {
          address: mostly(random, () => upstreamAddress(random)),
          weight: mostly(random, () => random.between(1, 256)),
          backup: mostly(random, () => random.chance(0.3)),
        },
  );

/** One of what `addresses` may hold. */
const drawPlace = (random: Random) =>
  random.chance(0.7) ? random.pick(['all', 'default-route', 'zerotier']) : address(random);

/** A node that has all the addresses that these entries name, and some more. */
function hostOf(wanted: readonly ServedEntry[]): typeof aHost {
  const named = wanted.flatMap(({ addresses }) => addresses).filter((one) => isIP(one) !== 0);
  const defaultRoute = ['192.0.2.5', '2001:db8::5'];
  const zerotier = ['10.45.0.7', 'fd45::7', 'fe80::7'];
  return {
    ...aHost,
    addresses: { here: [...named, ...defaultRoute, ...zerotier.slice(0, 2)], defaultRoute, zerotier },
  };
}

/** Upstreams that are found in the cluster. */
const drawWish = (random: Random): unknown =>
  random.chance(0.5)
    ? 'auto'
    : {
        service: mostly(random, () => 'kube-system/traefik'),
        port: mostly(random, () => random.pick([80, 443, 'web', 'websecure'])),
      };

/** What the cluster says of the Service; now and then what it cannot say. */
const drawService = (random: Random, listen: number) => ({
  metadata: { namespace: 'kube-system', name: 'traefik', resourceVersion: '1' },
  spec: {
    ports: list(random, 4, () => ({
      name: mostly(random, () => random.pick(['web', 'websecure'])),
      port: mostly(random, () => random.pick([80, 443, listen])),
      protocol: mostly(random, () => random.pick(['TCP', 'UDP'])),
      nodePort: mostly(random, () => random.between(1, 65_535)),
    })),
  },
});

/** The entry with its upstreams listed: twice over, since NodePorts change. Undefined where nothing is found. */
async function found(entry: IngressConfig, random: Random): Promise<ServedEntry | undefined> {
  if (Array.isArray(entry.upstreams)) return entry;
  const name = entry.upstreams === 'auto' ? 'kube-system/traefik' : entry.upstreams.service;
  const config = { ...aConfig(), ingress: [entry] };
  let memory = aMemory();
  let served: ServedEntry | undefined;
  for (const ms of [0, 1]) {
    const items = [drawService(random, entry.listen)];
    const api = { get: async () => JSON.stringify({ metadata: { resourceVersion: '1' }, items }) };
    const answer = await listService(api, name, new AbortController().signal).catch((error: unknown) => {
      assert.ok(error instanceof SystemError, String(error));
      return undefined;
    });
    const drawn = () =>
      random.pick([undefined, { kind: 'loopback' }, { kind: 'node', address: '10.45.0.7' }] as const);
    const reach = { tcp: drawn(), udp: drawn() };
    const state = { kind: 'live', isThere: true } as const;
    const services = {
      [name]: { ports: answer?.ports ?? [], asOfMs: 0, state, reach, answering: [] },
    };
    const fine = { status: 'true', reason: '', message: '' } as const;
    const result = upstreamsStage({ config, world: aWorld({ services }), memory, now: at(ms) }, {}, fine);
    memory = result.memory;
    served = result.entries[0];
  }
  return served;
}

function drawRate(random: Random): unknown {
  const rate = () => `${random.between(0, 10_500)}/${random.pick(['1s', '1m', '1h', '10m'])}`;
  const mapping = () => ({ rate: mostly(random, rate), burst: mostly(random, () => random.between(1, 500)) });
  return random.chance(0.6) ? rate() : mapping();
}

function drawEntry(random: Random, name: string, port: number): Record<string, unknown> {
  const entry: Record<string, unknown> = {
    name: mostly(random, () => name),
    listen: mostly(random, () => port),
    upstreams: mostly(random, () => (random.chance(0.2) ? drawWish(random) : drawList(random))),
  };
  const range = () => (random.chance(0.5) ? address(random) : `${address(random)}/${random.between(0, 33)}`);
  const duration = () => `${random.between(0, 90)}${random.pick(['ms', 's', 'm', 'h'])}`;
  const options: Readonly<Record<string, () => unknown>> = {
    protocol: () => random.pick(['tcp', 'udp']),
    balance: () => random.pick(['auto', 'least-connections', 'client', 'turns']),
    connectTimeout: duration,
    idleTimeout: duration,
    addresses: () => (random.chance(0.5) ? drawPlace(random) : list(random, 3, () => drawPlace(random))),
    allow: () => list(random, 3, range),
    deny: () => list(random, 3, range),
    connectionsPerClient: () => random.between(1, 1_000),
    newConnectionsPerClient: () => drawRate(random),
    proxyProtocol: () => random.pick(['none', 'v1', 'v2']),
  };
  for (const [key, usual] of Object.entries(options))
    if (random.chance(0.3)) entry[key] = mostly(random, usual);
  return entry;
}

function accepted(entry: Record<string, unknown>): IngressConfig | undefined {
  const text = stringify({
    zerotier: { networks: [{ id: '8056c2e21c000001' }] },
    k3s: { server: 'https://k3s.home.example:6443', token: { file: '/etc/mooring/k3s-token' } },
    ingress: [entry],
  });
  const result = parseConfig([{ path: 'config.yaml', text }]);
  return result.ok ? result.config.ingress[0] : undefined;
}

/** Reads an nginx config into directives, blocks within blocks; knows quotes nowhere, since none may be there. */
function directives(text: string): readonly (readonly [block: string, directive: string])[] {
  const found: (readonly [string, string])[] = [];
  const blocks: string[] = [];
  for (const line of text.split('\n').map((one) => one.replace(/#.*$/, '').trim())) {
    if (line === '') continue;
    assert.match(line, /^[^;{}"'\\]+[;{]$|^\}$/, `one directive a line: ${line}`);
    if (line === '}') blocks.pop();
    else if (line.endsWith('{')) blocks.push(line.slice(0, -1).trim());
    else found.push([blocks.join(' '), line.slice(0, -1)]);
  }
  assert.deepEqual(blocks, []);
  return found;
}

const known =
  /^(listen|proxy_pass|proxy_connect_timeout|proxy_timeout|proxy_socket_keepalive|proxy_protocol|allow|deny|limit_conn|access_log \/run\/mooring-ingress\/sessions\.log) |^error_log stderr emerg$/;

/** That the config passes on to what the entry names, and has no other way out. */
function assertPassesOnlyTo(entry: ServedEntry, asWritten: IngressConfig, text: string): void {
  const all = directives(text);
  assert.ok(Array.isArray(entry.upstreams));
  const wanted = entry.upstreams.map((upstream) =>
    typeof upstream === 'string' ? upstream : upstream.address,
  );
  const servers = all.filter(([block]) => block === `stream upstream ${entry.name}`);
  const hosts = servers.flatMap(([, directive]) => /^server (\S+)/.exec(directive)?.[1] ?? []);
  assert.deepEqual(hosts, wanted.map(plainPort));
  if (!Array.isArray(asWritten.upstreams))
    for (const host of hosts) assert.match(host, /^(127\.0\.0\.1|10\.45\.0\.7):[1-9]\d{0,4}$/);
  const served = all.filter(([block]) => block === 'stream server').map(([, directive]) => directive);
  assert.deepEqual(
    served.filter((directive) => directive.startsWith('proxy_pass')),
    [`proxy_pass ${entry.protocol === 'udp' ? entry.name : probed(entry.name).target}`],
  );
  const choices = all.filter(([block]) => block.startsWith('stream geo '));
  assert.deepEqual(
    choices.map(([, choice]) => choice),
    entry.protocol === 'udp' ? [] : [`default ${entry.name}`, `${probeSource} mooring_generation`],
  );
  assert.deepEqual(
    all.filter(([block]) => block === 'stream upstream mooring_generation').map(([, server]) => server),
    [`server unix:${generationSocket}`],
  );
  for (const directive of served)
    assert.match(directive, directive.startsWith('return') ? /^return ([0-9a-f]{16}|0)$/ : known);
  assert.ok(all.some(([, directive]) => directive.startsWith('listen ') && !directive.includes('unix:')));
  const others = all.filter(([block]) => !/^stream (server|upstream \S+|geo \S+)$/.test(block));
  assert.ok(others.every(([block]) => ['', 'events', 'stream'].includes(block)));
}

/** That rules of nftables accept what is not limited, and drop nothing else. */
function assertLimitsOnly(rules: string): void {
  for (const line of rules.split('\n').map((one) => one.trim()))
    assert.match(
      line,
      /^(|[#}].*|(table|delete table|set|chain) .*|(type|size|flags|timeout) .*|iifname .* accept|meta .*)$/,
    );
  const limits = rules.split('\n').filter((line) => line.includes(' drop '));
  for (const line of limits)
    assert.match(
      line,
      /^ +meta nfproto ipv[46] (tcp|udp) dport \d+ (tcp flags & \(fin \| syn \| rst \| ack\) == syn|ct state new) update @[a-z0-9_]+ \{ (ip saddr|ip6 saddr & ffff:ffff:ffff:ffff::) limit rate over \d+\/(second|minute|hour) burst \d+ packets \} counter drop comment "[a-z0-9-]+"$/,
    );
}

/** As nginx is given it: without leading zeros. */
const plainPort = (text: string) => text.replace(/:0*(\d+)$/, ':$1');

describe('drawn ingress entries', () => {
  let nginx: NginxCheck;
  before(async () => {
    nginx = await createNginxCheck();
  });
  after(() => nginx?.close());

  test('the check can fail', async () => {
    assert.match(
      (await nginx.check('events {} stream { server { listen 1; proxy_pass evil; } }')) ?? '',
      /emerg/,
    );
  });

  test('are refused, or taken by nginx and led nowhere else', async (t) => {
    const random = seeded(20_261_123);
    const taken: ServedEntry[] = [];
    let fromCluster = 0;
    let limited = 0;
    for (let i = 0; i < entries; i += 1) {
      const asWritten = accepted(drawEntry(random, `e${i}`, 1_000 + (i % perConfig)));
      const entry = asWritten && (await found(asWritten, random));
      if (asWritten === undefined || entry === undefined) continue;
      assertPassesOnlyTo(entry, asWritten, renderNginxConf([entry], hostOf([entry])).text);
      taken.push(entry);
      if (!Array.isArray(asWritten.upstreams)) fromCluster += 1;
    }
    t.diagnostic(`${taken.length} of ${entries} were accepted, ${fromCluster} of them found in the cluster`);
    assert.ok(fromCluster > 100, 'Services are among them');
    assert.ok(taken.length > entries / 10 && taken.length < (entries * 9) / 10, 'both ends are reached');
    const doors = new Map<number, ServedEntry[]>();
    for (const entry of taken) doors.set(entry.listen, [...(doors.get(entry.listen) ?? []), entry]);
    const rows = Math.max(...[...doors.values()].map((behind) => behind.length));
    for (let row = 0; row < rows; row += 1) {
      const batch = [...doors.values()].flatMap((behind) => behind[row] ?? []);
      const verdict = await nginx.check(renderNginxConf(batch, hostOf(batch)).text);
      assert.equal(verdict, undefined, `nginx refuses a config of ${batch.length} entries`);
      const rules = renderLimits(batch, listensOf(renderNginxConf(batch, aHost).text));
      if (rules === undefined) continue;
      assertLimitsOnly(rules);
      assert.equal(await nginx.checkRules(rules), undefined, 'nft refuses the limits');
      limited += 1;
    }
    assert.ok(limited > 5, 'limits are among them');
  });
});
