/**
 * The config's one schema. The types, the validation messages and the published JSON Schema all come from it.
 * Every leaf says in plain words what is allowed (`allowed` in its message), since a person reads that when it is wrong.
 */
import * as z from 'zod/mini';
import { ingressSchema, nginxSchema } from './schema-ingress.ts';
import { k3sInstallSchema } from './schema-install.ts';
import {
  budget,
  comparedAddress,
  dnsDomain,
  duration,
  durationFrom,
  ipAddress,
  isControllerUrl,
  isShortText,
  labels,
  networkId,
  path,
  port,
  scalar,
  taint,
  text,
} from './values.ts';

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
  addresses: z.optional(
    z
      .array(comparedAddress)
      .check(z.minLength(1, 'at least one address'), z.maxLength(8, 'at most 8 addresses')),
  ),
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
  identity: z.optional(secretRef),
  authorize: z.optional(
    z.strictObject({
      controller: text(
        'central, or the https URL of a self-hosted controller (http only to loopback and private addresses)',
        (v) => v === 'central' || isControllerUrl(v),
      ),
      token: secretRef,
      name: z._default(
        text('auto, or a name of up to 64 characters, or empty text', isShortText(64)),
        'auto',
      ),
      description: z._default(
        text('auto, or a description of up to 200 characters, or empty text', isShortText(200)),
        'auto',
      ),
    }),
  ),
  repair: z.prefault(
    z.strictObject({
      rejoin: z._default(z.boolean('true or false'), true),
      restart: z._default(z.boolean('true or false'), true),
      patience: z.prefault(durationFrom('1s', '1h'), '10s'),
      grace: z.prefault(durationFrom('1s', '1h'), '15s'),
      pause: z.prefault(durationFrom('1s', '24h'), '60s'),
      budget: z.prefault(budget, '3/1h'),
      maxDelay: z.prefault(durationFrom('1s', '24h'), '1h'),
    }),
    {},
  ),
});

const dns = z.strictObject({
  repair: z.prefault(
    z.strictObject({
      restart: z._default(z.boolean('true or false'), true),
      patience: z.prefault(durationFrom('1s', '1h'), '2s'),
    }),
    {},
  ),
});

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
  install: z.optional(k3sInstallSchema),
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
      spread: z.prefault(duration, '45s'),
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
      controllerSilence: z.prefault(durationFrom('5s', '1h'), '150s'),
    }),
    {},
  ),
  podNetwork: z.prefault(
    z.strictObject({
      check: z._default(z.boolean('true or false'), true),
      grace: z.prefault(durationFrom('0s', '1h'), '30s'),
      patience: z.prefault(durationFrom('1s', '1h'), '10s'),
      refresh: z.prefault(durationFrom('10s', '24h'), '30m'),
    }),
    {},
  ),
});

/** The whole config. */
export const configSchema = z.strictObject({
  zerotier,
  dns: z.prefault(dns, {}),
  k3s,
  ingress: z._default(z.array(ingressSchema).check(z.maxLength(64, 'at most 64 entries')), []),
  nginx: z.prefault(nginxSchema, {}),
  node: z.prefault(
    z.strictObject({
      externalIp: z._default(
        z.union(
          [z.enum(['auto', 'none']), ipAddress, z.array(ipAddress)],
          'auto, none, an address, or a list of an IPv4 and an IPv6 address',
        ),
        'auto',
      ),
      cloud: z._default(
        z.enum(
          ['auto', 'none', 'aws', 'azure', 'gcp', 'digitalocean', 'hetzner', 'oracle'],
          'auto, none, aws, azure, gcp, digitalocean, hetzner or oracle',
        ),
        'auto',
      ),
      providerId: z._default(z.enum(['auto', 'none'], 'auto or none'), 'auto'),
      patience: z.prefault(durationFrom('0s', '1h'), '20s'),
      tags: z.optional(
        z.strictObject({
          prefix: z._default(
            text('the beginning of a tag: a letter, then up to 63 letters, digits or + - = . _ : / @', (v) =>
              /^[A-Za-z][A-Za-z0-9+=._:/@-]{0,63}$/.test(v),
            ),
            'mooring-',
          ),
        }),
      ),
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
