/**
 * The config's one schema. The types, the validation messages and the published JSON Schema all come from it.
 * Every leaf says in plain words what is allowed (`allowed` in its message), since a person reads that when it is wrong.
 */
import { isIP, isIPv4, isIPv6 } from 'node:net';
import * as z from 'zod/mini';

/** Prefixes of interfaces that ZeroTier must not bind to; see docs/architecture.md for where the list comes from. */
export const defaultInterfacePrefixBlacklist = [
  'flannel',
  'cni',
  'veth',
  'docker',
  'cali',
  'cilium',
  'lxc',
  'kube',
  'nodelocaldns',
] as const;

/** A string that satisfies `test`; `allowed` is the rest of the sentence "allowed: …", and its description in the JSON Schema. */
const text = (allowed: string, test: (value: string) => boolean) =>
  z
    .string(allowed)
    .check(z.refine(test, { error: allowed, abort: true }))
    .register(z.globalRegistry, { description: allowed });

const durationUnitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** `30s` -> 30000. NaN where the text is no duration. */
function durationMs(value: string): number {
  const match = /^(\d{1,9})(ms|s|m|h)$/.exec(value);
  return match?.[1] && match[2] ? Number(match[1]) * (durationUnitsMs[match[2]] ?? Number.NaN) : Number.NaN;
}

/** A duration in text, parsed to ms. */
const duration = z.pipe(
  text('a duration such as 500ms, 30s, 10m or 1h', (v) => !Number.isNaN(durationMs(v))),
  z.pipe(z.transform(durationMs), z.number()),
);

/** A duration within bounds, where less would be a storm and more would be as good as never. */
const durationFrom = (least: string, most: string) =>
  z.pipe(
    text(
      `a duration from ${least} to ${most}`,
      (v) => durationMs(v) >= durationMs(least) && durationMs(v) <= durationMs(most),
    ),
    z.pipe(z.transform(durationMs), z.number()),
  );

/** `5/10m` -> five in ten minutes. */
const budget = z.pipe(
  text('a number of restarts per duration, such as 5/10m', (v) => {
    const [count, period] = v.split('/');
    return /^[1-9]\d{0,3}$/.test(count ?? '') && durationMs(period ?? '') > 0;
  }),
  z.pipe(
    z.transform((v: string) => {
      const [count, period] = v.split('/');
      return { count: Number(count), periodMs: durationMs(period ?? '') };
    }),
    z.strictObject({ count: z.number(), periodMs: z.number() }),
  ),
);

const networkId = z.pipe(
  text('a ZeroTier network id of 16 hex digits, such as 8056c2e21c000001', (v) => /^[0-9a-f]{16}$/i.test(v)),
  z.pipe(
    z.transform((v: string) => v.toLowerCase()),
    z.string(),
  ),
);

/** An absolute path without `..`, control characters or a trailing slash. */
const path = text(
  'an absolute path without .. or control characters',
  (v) =>
    /^(\/[^/\p{Cc}]+)+$/u.test(v) &&
    v.length <= 4096 &&
    !v.split('/').some((part) => part === '..' || part === '.'),
);

const ipAddress = text('an IPv4 or IPv6 address', (v) => isIP(v) !== 0 && !v.includes('%'));

const hostLabel = /^(?!-)[a-z0-9_-]{1,63}(?<!-)$/i;
const isDomain = (v: string) =>
  v.length <= 253 &&
  v
    .replace(/\.$/, '')
    .split('.')
    .every((label) => hostLabel.test(label));

/** resolved's notation: `home.example` is searched, `~home.example` only routed, `~.` takes everything. */
const dnsDomain = text(
  'a domain such as home.example, or ~home.example to route it without searching it, or ~. for every name',
  (v) => v === '~.' || isDomain(v.startsWith('~') ? v.slice(1) : v),
);

/** Where a secret is read from. Never the secret itself. */
export const secretRef = z.union(
  [
    z.strictObject({ file: path }),
    z.strictObject({
      credential: text(
        'the name of a systemd credential: letters, digits, dot, dash, underscore',
        (v) => /^[A-Za-z0-9._-]{1,255}$/.test(v) && v !== '.' && v !== '..',
      ),
    }),
  ],
  '{file: /path/to/secret} or {credential: name}; never the secret itself',
);

const networkDns = z.union(
  [
    z.enum(['auto', 'none']),
    z.strictObject({
      servers: z
        .array(ipAddress)
        .check(z.minLength(1, 'at least one DNS server address'), z.maxLength(8, 'at most 8 servers')),
      domains: z._default(z.array(dnsDomain).check(z.maxLength(64, 'at most 64 domains')), []),
      defaultRoute: z._default(z.boolean('true or false'), false),
      reverseZones: z._default(z.boolean('true or false'), true),
    }),
  ],
  'auto, none, or {servers: [...], domains: [...]}',
);

const network = z.strictObject({
  id: networkId,
  dns: z._default(networkDns, 'auto'),
});

const zerotier = z.strictObject({
  networks: z
    .array(network)
    .check(z.minLength(1, 'at least one network'), z.maxLength(16, 'at most 16 networks')),
  interfacePrefixBlacklist: z._default(
    z
      .array(text('an interface name prefix of 1 to 15 characters', (v) => /^[A-Za-z0-9_.-]{1,15}$/.test(v)))
      .check(z.maxLength(64, 'at most 64 prefixes')),
    [...defaultInterfacePrefixBlacklist],
  ),
  authorize: z.optional(
    z.strictObject({
      controller: text(
        'central, or the URL of a self-hosted controller',
        (v) => v === 'central' || URL.canParse(v),
      ),
      token: secretRef,
    }),
  ),
  repair: z.prefault(
    z.strictObject({
      rejoin: z._default(z.boolean('true or false'), true),
      restart: z._default(z.boolean('true or false'), true),
      patience: z.prefault(durationFrom('1s', '1h'), '10s'),
      pause: z.prefault(durationFrom('1s', '24h'), '60s'),
      budget: z.prefault(budget, '3/1h'),
      maxDelay: z.prefault(durationFrom('1s', '24h'), '1h'),
    }),
    {},
  ),
});

const labelName =
  /^([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;
const labelValue = /^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$/;

/** Label keys that kubelet sets on itself without being refused, see the NodeRestriction rules of Kubernetes. */
function kubeletMaySet(key: string): boolean {
  const namespace = key.includes('/') ? (key.split('/')[0] ?? '') : '';
  const reserved = /(^|\.)(kubernetes\.io|k8s\.io)$/.test(namespace);
  if (!reserved) return true;
  if (/(^|\.)(kubelet|node)\.kubernetes\.io$/.test(namespace)) return true;
  return /^(topology\.kubernetes\.io\/(region|zone)|failure-domain\.beta\.kubernetes\.io\/(region|zone)|kubernetes\.io\/(hostname|arch|os)|beta\.kubernetes\.io\/(arch|os|instance-type))$/.test(
    key,
  );
}

const labels = z.record(
  text(
    'a label key that kubelet may set on itself: not in kubernetes.io or k8s.io, except topology.kubernetes.io/region and zone, node.kubernetes.io/… and kubelet.kubernetes.io/…',
    (v) => labelName.test(v) && kubeletMaySet(v),
  ),
  text(
    'a label value: up to 63 letters, digits, dashes, underscores or dots; in quotes where YAML takes it for a number or true/false',
    (v) => labelValue.test(v),
  ),
);

const taint = text(
  'a taint such as key=value:NoSchedule or key:NoExecute',
  (v) =>
    /^[^\s=:,]{1,253}(=[A-Za-z0-9._-]{0,63})?:(NoSchedule|PreferNoSchedule|NoExecute)$/.test(v) &&
    labelName.test(v.split(/[=:]/)[0] ?? ''),
);

/** k3s agent options that mooring itself writes; setting them under `k3s.config` would make two masters. */
export const ownedK3sOptions = [
  'server',
  'token',
  'token-file',
  'node-ip',
  'flannel-iface',
  'node-external-ip',
  'node-name',
  'node-label',
  'node-taint',
  'with-node-id',
] as const;

/** Other numbers than whole ones would lose their form (1.10) on the way; they are written in quotes. */
const scalar = z.union(
  [
    text('text without control characters', (v) => !/\p{Cc}/u.test(v)),
    z.number().check(z.refine(Number.isSafeInteger, 'a whole number, or any other number in quotes')),
    z.boolean(),
  ],
  'a string without control characters, a whole number, true or false',
);

const k3s = z.strictObject({
  server: text('an https URL such as https://k3s.home.example:6443', (v) => {
    if (!URL.canParse(v) || /[\p{Cc}\s]/u.test(v)) return false;
    const url = new URL(v);
    return (
      url.protocol === 'https:' &&
      url.username === '' &&
      url.password === '' &&
      url.hash === '' &&
      url.search === '' &&
      url.pathname === '/'
    );
  }),
  token: secretRef,
  network: z.optional(networkId),
  nodeName: z._default(
    text(
      'auto, or a node name of lower-case letters, digits, dashes and dots, up to 253',
      (v) => v.length <= 253 && /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/.test(v),
    ),
    'auto',
  ),
  withNodeId: z._default(z.boolean('true or false'), false),
  binary: z._default(path, '/usr/local/bin/k3s'),
  install: z.optional(
    z.strictObject({
      version: z.string(),
      sha256: z.record(z.enum(['amd64', 'arm64']), z.optional(z.string())),
    }),
  ),
  labels: z._default(labels, {}),
  taints: z._default(z.array(taint).check(z.maxLength(64, 'at most 64 taints')), []),
  config: z._default(
    z.record(
      text(
        `an option of k3s agent that mooring does not write itself (not ${ownedK3sOptions.join(', ')})`,
        (v) => /^[a-z0-9][a-z0-9-]{0,62}$/.test(v) && !ownedK3sOptions.some((owned) => owned === v),
      ),
      z.union(
        [scalar, z.array(scalar)],
        'a string without control characters, a whole number, true, false, or a list of these',
      ),
    ),
    {},
  ),
  restart: z.prefault(
    z.strictObject({
      outage: z.prefault(duration, '30s'),
      settle: z.prefault(duration, '2s'),
      budget: z.prefault(budget, '5/10m'),
      maxDelay: z.prefault(duration, '10m'),
    }),
    {},
  ),
  probe: z.prefault(
    z.strictObject({
      calm: z.prefault(durationFrom('1s', '1h'), '60s'),
      eager: z.prefault(durationFrom('1s', '1h'), '3s'),
      deadline: z.prefault(durationFrom('100ms', '1m'), '2500ms'),
    }),
    {},
  ),
});

const port = (allowed: string) =>
  z.number(allowed).check(z.refine((v) => Number.isInteger(v) && v >= 1 && v <= 65535, { error: allowed }));

/** `address:port`, IPv6 in brackets. Names are left out: nginx resolves them once and refuses to start where it cannot. */
export function parseHostPort(value: string): { host: string; port: number } | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(value);
  if (!match) return undefined;
  const [, v6, v4, digits] = match;
  const host = v6 ?? v4 ?? '';
  if (v6 === undefined ? !isIPv4(host) : !isIPv6(host)) return undefined;
  const number = Number(digits);
  return number >= 1 && number <= 65535 ? { host, port: number } : undefined;
}

const upstreams = z.union(
  [
    z.literal('auto'),
    z
      .array(
        text(
          'an IP address and port such as 127.0.0.1:31693 or [fd00::1]:31693',
          (v) => parseHostPort(v) !== undefined,
        ),
      )
      .check(z.minLength(1, 'at least one upstream'), z.maxLength(64, 'at most 64 upstreams')),
    z.strictObject({ service: z.string(), port: z.union([z.number(), z.string()]) }),
  ],
  'a list of address:port such as ["127.0.0.1:31693"]',
);

const ingress = z.strictObject({
  name: text('a name of 1 to 32 lower-case letters, digits and dashes', (v) =>
    /^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$/.test(v),
  ),
  listen: port('a port from 1 to 65535'),
  protocol: z._default(z.enum(['tcp', 'udp'], 'tcp or udp'), 'tcp'),
  upstreams,
  proxyProtocol: z._default(z.enum(['none', 'v1', 'v2'], 'none or v1'), 'none'),
});

/** The whole config. */
export const configSchema = z.strictObject({
  zerotier,
  k3s,
  ingress: z._default(z.array(ingress).check(z.maxLength(64, 'at most 64 entries')), []),
  node: z.prefault(
    z.strictObject({
      externalIp: z._default(
        z.union(
          [z.enum(['auto', 'none']), ipAddress, z.array(ipAddress)],
          'auto, none, an address, or a list of an IPv4 and an IPv6 address',
        ),
        'auto',
      ),
      cloud: z._default(z.enum(['auto', 'aws', 'none'], 'auto, aws or none'), 'auto'),
    }),
    {},
  ),
  health: z.prefault(
    z.strictObject({
      listen: z._default(
        z.array(
          z.union(
            [z.enum(['loopback', 'zerotier']), ipAddress],
            'loopback, zerotier, or an address of this host',
          ),
        ),
        ['loopback', 'zerotier'],
      ),
      port: z._default(port('a port from 1 to 65535'), 9810),
    }),
    {},
  ),
});

/** A validated config, defaults filled in, durations in ms. */
export type Config = z.infer<typeof configSchema>;
/** One `zerotier.networks` entry. */
export type NetworkConfig = Config['zerotier']['networks'][number];
/** One `ingress` entry. */
export type IngressConfig = Config['ingress'][number];
/** Where a secret comes from. */
export type SecretRef = z.infer<typeof secretRef>;
