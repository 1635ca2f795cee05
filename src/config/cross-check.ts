/** What the schema cannot say about single values: names and ports that clash, and what is reserved for later. */

import { addressProblems } from './check-addresses.ts';
import { problemAt } from './issues.ts';
import { lookUp } from './merge.ts';
import type { Problem } from './problem.ts';
import { looksSecret, namesSecretFile } from './redact.ts';
import type { Config, IngressConfig } from './schema.ts';
import type { Tree } from './tree.ts';
import { parseHostPort } from './values.ts';

const zerotierUdpPort = 9993;
const kubeletTcpPort = 10250;

/** Everything that is reserved or refused whatever the rest of the config says. Works on configs with other problems too. */
export function refusedValues(root: Tree): Problem[] {
  const problems: Problem[] = [];
  const not = (path: PropertyKey[], allowed: string, advice: string) =>
    problems.push(problemAt(root, path, allowed, advice));

  const entries = lookUp(root, ['ingress']).tree;
  const count = entries?.kind === 'list' ? entries.items.length : 0;
  for (let i = 0; i < count; i += 1) {
    const proxyProtocol = lookUp(root, ['ingress', i, 'proxyProtocol']).tree;
    if (proxyProtocol?.kind === 'scalar' && proxyProtocol.value === 'v2')
      not(
        ['ingress', i, 'proxyProtocol'],
        "none or v1; not v2 yet, since Debian's nginx sends version 1 only",
        'write v1; Traefik reads both',
      );
  }
  return [...problems, ...secretOptions(root)];
}

/** Pass-through options that hold a secret would end up in a world-readable place and in every diff. */
function secretOptions(root: Tree): Problem[] {
  const options = lookUp(root, ['k3s', 'config']).tree;
  if (options?.kind !== 'map') return [];
  return [...options.entries.keys()]
    .filter((key) => looksSecret(key) && !namesSecretFile(key) && key !== 'token')
    .map((key) =>
      problemAt(
        root,
        ['k3s', 'config', key],
        'no secret in the config itself',
        key === 'vpn-auth'
          ? 'put it into a file that only root can read and set vpn-auth-file; replace the key that stood here'
          : `put it into a file that only root can read and set ${key}-file where k3s has it; replace the secret that stood here`,
      ),
    );
}

/** Clashes within a config that the schema accepts. */
export function crossCheck(config: Config, root: Tree): Problem[] {
  return [
    ...networkProblems(config, root),
    ...memberAddressProblems(config, root),
    ...ingressProblems(config, root),
    ...externalIpProblems(config, root),
    ...taintProblems(config, root),
    ...installProblems(config, root),
  ];
}

function networkProblems(config: Config, root: Tree): Problem[] {
  const ids = config.zerotier.networks.map((network) => network.id);
  const problems = ids.flatMap((id, i) =>
    ids.indexOf(id) === i
      ? []
      : [
          problemAt(
            root,
            ['zerotier', 'networks', i, 'id'],
            'each network once',
            `remove one of the two; the other is zerotier.networks[${ids.indexOf(id)}]`,
          ),
        ],
  );
  const network = config.k3s.network;
  if (network === undefined || ids.includes(network)) return problems;
  return [
    ...problems,
    problemAt(
      root,
      ['k3s', 'network'],
      `one of zerotier.networks: ${[...new Set(ids)].join(', ')}`,
      'correct the id, add the network to zerotier.networks, or remove the key to take the first',
    ),
  ];
}

/** Addresses of the member are for its controller, so somebody has to tell them there. */
function memberAddressProblems({ zerotier }: Config, root: Tree): Problem[] {
  if (zerotier.authorize !== undefined) return [];
  return zerotier.networks.flatMap(({ addresses }, i) =>
    addresses === undefined
      ? []
      : [
          problemAt(
            root,
            ['zerotier', 'networks', i, 'addresses'],
            'only together with zerotier.authorize, which gives them to the controller',
            'add zerotier.authorize, or remove this and assign the addresses at the controller',
          ),
        ],
  );
}

function ingressProblems(config: Config, root: Tree): Problem[] {
  const problems: Problem[] = [];
  const names = new Map<string, number>();
  config.ingress.forEach((entry, i) => {
    const at = (key: string, allowed: string, advice: string) =>
      problems.push(problemAt(root, ['ingress', i, key], allowed, advice));
    const door = `${entry.protocol} ${entry.listen}`;
    const sameName = names.get(entry.name);
    if (sameName !== undefined)
      at('name', 'each name once', `rename one of the two; the other is ingress[${sameName}]`);
    else names.set(entry.name, i);
    const taken = takenPort(config, entry.protocol, entry.listen);
    if (taken) at('listen', `another port: ${door} belongs to ${taken.owner}`, taken.advice);
    if (entry.protocol === 'udp' && entry.proxyProtocol !== 'none')
      at('proxyProtocol', 'none, with udp', 'remove it; the PROXY protocol is for TCP');
    problems.push(...balanceProblems(entry, root, i), ...upstreamProblems(config, root, i));
  });
  return [...problems, ...addressProblems(config, root)];
}

/** What nginx does not do with servers that are there for the worst case only. */
function balanceProblems({ upstreams, balance, protocol }: IngressConfig, root: Tree, i: number): Problem[] {
  if (!Array.isArray(upstreams)) return [];
  const backups = upstreams.filter((upstream) => typeof upstream !== 'string' && upstream.backup);
  if (backups.length === 0) return [];
  const isByClient = balance === 'client' || (balance === 'auto' && protocol === 'udp');
  if (backups.length === upstreams.length)
    return [
      problemAt(
        root,
        ['ingress', i, 'upstreams'],
        'at least one upstream that is no backup',
        'remove backup: true from one',
      ),
    ];
  if (!isByClient) return [];
  return [
    problemAt(
      root,
      ['ingress', i, 'balance'],
      'least-connections or turns, where an upstream is a backup',
      'write balance: least-connections, or remove backup: true',
    ),
  ];
}

function takenPort(
  config: Config,
  protocol: 'tcp' | 'udp',
  port: number,
): { owner: string; advice: string } | undefined {
  const change = 'change ingress listen';
  if (protocol === 'tcp' && port === config.health.port && config.health.listen.length > 0)
    return { owner: "mooring's own health.port", advice: `${change}, or set health.port` };
  if (protocol === 'udp' && port === zerotierUdpPort) return { owner: 'ZeroTier', advice: change };
  if (protocol === 'tcp' && port === kubeletTcpPort) return { owner: 'the kubelet of k3s', advice: change };
  return undefined;
}

function upstreamProblems(config: Config, root: Tree, index: number): Problem[] {
  const entry = config.ingress[index];
  if (!entry || !Array.isArray(entry.upstreams)) return [];
  const seen = new Map<string, number>();
  const isOwn = (host: string, port: number) =>
    config.ingress.some(
      ({ protocol, listen, addresses }) =>
        protocol === entry.protocol &&
        listen === port &&
        (addresses.includes('all') || addresses.includes(host)),
    );
  return entry.upstreams.flatMap((upstream, i) => {
    const parsed = parseHostPort(typeof upstream === 'string' ? upstream : upstream.address);
    if (!parsed) return [];
    const host = canonicalHost(parsed.host);
    const key = `${host} ${parsed.port}`;
    const path = ['ingress', index, 'upstreams', i];
    const earlier = seen.get(key);
    if (earlier !== undefined)
      return [problemAt(root, path, 'each upstream once', `remove it; it is upstreams[${earlier}] already`)];
    seen.set(key, i);
    const isSelf = /^127\.|^\[::1?\]$|^0\.0\.0\.0$/.test(host) && isOwn(parsed.host, parsed.port);
    return isSelf
      ? [
          problemAt(
            root,
            path,
            'an address where another program listens',
            'this is a port of the ingress itself, which would call itself for ever; write the NodePort of your Traefik',
          ),
        ]
      : [];
  });
}

/** One spelling for one address: 127.0.0.1, [::1]. */
function canonicalHost(host: string): string {
  return new URL(`http://${host.includes(':') ? `[${host}]` : host}`).hostname;
}

function externalIpProblems(config: Config, root: Tree): Problem[] {
  const { externalIp } = config.node;
  if (!Array.isArray(externalIp)) return [];
  const families = externalIp.map((address) => (address.includes(':') ? 'IPv6' : 'IPv4'));
  const repeated = families.findIndex((family, i) => families.indexOf(family) !== i);
  if (repeated === -1 && externalIp.length > 0) return [];
  const path = ['node', 'externalIp'];
  return [
    problemAt(
      root,
      repeated === -1 ? path : [...path, repeated],
      'one IPv4 address, one IPv6 address, or one of each',
      repeated === -1
        ? 'write none for no external address'
        : `there is an ${families[repeated]} address already; remove one`,
    ),
  ];
}

/** A kubelet ends at its start over two taints of the same key and effect, whatever their values. */
function taintProblems(config: Config, root: Tree): Problem[] {
  const identities = config.k3s.taints.map((taint) => taint.replace(/=[^:]*/, ''));
  return identities.flatMap((identity, i) => {
    const first = identities.indexOf(identity);
    if (first === i) return [];
    const advice = `remove one of the two; the other is k3s.taints[${first}]`;
    return [problemAt(root, ['k3s', 'taints', i], 'each key with an effect once', advice)];
  });
}

/** Hashes that nothing is asked for by, and one URL for what two hashes stand for. */
function installProblems({ k3s: { install } }: Config, root: Tree): Problem[] {
  if (install === undefined) return [];
  const pins = [
    { path: ['k3s', 'install'], ...install },
    ...(install.images === undefined ? [] : [{ path: ['k3s', 'install', 'images'], ...install.images }]),
  ];
  return pins.flatMap(({ path, sha256: { amd64, arm64 }, url }) => {
    if (amd64 === undefined && arm64 === undefined)
      return [
        problemAt(
          root,
          [...path, 'sha256'],
          'a hash for amd64, arm64 or both',
          "take them from sha256sum-amd64.txt and sha256sum-arm64.txt of k3s' release",
        ),
      ];
    const isShared = amd64 !== undefined && arm64 !== undefined && amd64 !== arm64;
    return isShared && !/\{(arch|file)\}/.test(url)
      ? [
          problemAt(
            root,
            [...path, 'url'],
            'a URL with {arch} or {file} in it, since there are hashes for two architectures',
            'put it where the two differ',
          ),
        ]
      : [];
  });
}
