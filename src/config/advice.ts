/** What to do about a wrong or missing value, where the allowed form alone does not tell. */
import { isSecretPath } from './render-found.ts';
import { wantedAt, wordsAt } from './schema-walk.ts';
import { suggest } from './suggest.ts';

type Path = readonly PropertyKey[];

/** How to write what must not be missing. Paths without list indices. */
const examples: Readonly<Record<string, string>> = {
  zerotier: 'zerotier: {networks: [{id: 8056c2e21c000001}]}',
  'zerotier.networks': 'networks: [{id: 8056c2e21c000001}]',
  'zerotier.networks.id': 'id: 8056c2e21c000001',
  'zerotier.networks.dns.servers': 'servers: [10.45.0.1]',
  k3s: 'k3s: {server: "https://k3s.home.example:6443", token: {file: /etc/mooring/k3s-token}}',
  'k3s.server': 'server: https://k3s.home.example:6443',
  'k3s.token': 'token: {file: /etc/mooring/k3s-token}',
  'zerotier.authorize.controller': 'controller: central',
  'zerotier.authorize.token': 'token: {file: /etc/mooring/zerotier-api-token}',
  'k3s.install.version': 'version: v1.36.3+k3s1',
  'k3s.install.sha256': "sha256: {amd64: …}, from sha256sum-amd64.txt of k3s' release",
  'k3s.install.images.sha256': "sha256: {amd64: …}, from sha256sum-amd64.txt of k3s' release",
  'ingress.name': 'name: https',
  'ingress.listen': 'listen: 443',
  'ingress.upstreams': 'upstreams: ["127.0.0.1:30484"]',
};

/** Options that mooring writes itself -> where they are set instead. */
const insteadOfOption: Readonly<Record<string, string>> = {
  server: 'set k3s.server',
  token: 'set k3s.token: {file: /etc/mooring/k3s-token}; if the token stood here, replace it by a new one',
  'token-file': 'set k3s.token: {file: …}',
  'node-ip': 'remove it; the address of the ZeroTier link is used',
  'flannel-iface': 'remove it; the interface of the network in k3s.network is used',
  'node-external-ip': 'set node.externalIp',
  'node-name': 'set k3s.nodeName',
  'node-label': 'set k3s.labels',
  'node-taint': 'set k3s.taints',
  'with-node-id': 'set k3s.withNodeId',
};

/** Advice for a value of the wrong form at `path`; `undefined` value means that it is missing or that its key is wrong. */
export function adviceFor(path: Path, value: unknown, source: string | undefined): string | undefined {
  const names = path.filter((part) => typeof part !== 'number').map(String);
  const place = names.join('.');
  if (names[0] === 'k3s' && names[1] === 'config' && names.length === 3) {
    const instead = insteadOfOption[names[2] ?? ''];
    if (instead) return instead;
    if (value === undefined) return "write the option without the leading dashes, as in k3s' own config.yaml";
  }
  if (names[0] === 'k3s' && names[1] === 'labels' && value === undefined) return labelAdvice(names[2] ?? '');
  if (value === undefined || value === null) {
    const example = examples[place];
    if (example) return `add it, for example ${example}`;
    return value === null ? 'fill it in, or remove the key to take the default' : undefined;
  }
  if (isSecretPath(place) && names.length === 2 && typeof value === 'string')
    return 'write the secret into a file that only root can read (chmod 600) and give its path here; if the secret itself stood here, replace it by a new one';
  return byPlace(place, value) ?? byKind(path, value, source);
}

function labelAdvice(key: string): string {
  return /(kubernetes|k8s)\.io\//.test(key)
    ? 'remove it here and set it from the cluster: kubectl label node NAME key=value'
    : 'a key is an optional DNS prefix and a slash, then up to 63 letters, digits, dashes, dots or underscores';
}

function byPlace(place: string, value: unknown): string | undefined {
  const written = typeof value === 'string' || typeof value === 'number' ? String(value) : '';
  if (
    /^(k3s\.restart\.(outage|settle|spread|maxDelay)|zerotier\.repair\.(patience|pause|maxDelay)|dns\.repair\.patience|nginx\.shutdown|ingress\.(connect|idle)Timeout)$/.test(
      place,
    )
  )
    return durationAdvice(written);
  if (place === 'k3s.restart.budget' && /^\d+$/.test(written)) return `add the period: ${written}/10m`;
  if (place === 'zerotier.repair.budget' && /^\d+$/.test(written)) return `add the period: ${written}/1h`;
  if (place === 'ingress.newConnectionsPerClient' && /^\d+$/.test(written))
    return `add the period: ${written}/1s`;
  if (place === 'k3s.taints') return taintAdvice(written);
  if (typeof value !== 'string') return undefined;
  if (/^(zerotier\.networks\.id|k3s\.network)$/.test(place) && /^[0-9a-f]+$/i.test(value))
    return `this has ${value.length} digits; copy it anew from the console of the network`;
  if (/^ingress\.upstreams(\.address)?$/.test(place)) return upstreamAdvice(value);
  if (place === 'k3s.server') {
    if (value.startsWith('http://')) return 'write https://; k3s speaks nothing else';
    if (!value.includes('://')) return 'put https:// in front, and the port behind (k3s uses 6443)';
    return 'only scheme, host and port: no user, path, query or fragment';
  }
  if (place === 'zerotier.authorize.controller') return controllerAdvice(value);
  if (place === 'k3s.install.version' && /^\d/.test(value)) return `put a v in front: v${value}`;
  if (/^k3s\.install\.(images\.)?sha256\./.test(place))
    return `this has ${value.length} characters; copy it anew from sha256sum-amd64.txt or sha256sum-arm64.txt of the release`;
  if (/^k3s\.install\.(images\.)?url$/.test(place)) return urlAdvice(value);
  if (place === 'k3s.binary' || place.endsWith('.file'))
    return 'start with a slash, and write the path without . and ..';
  return undefined;
}

function controllerAdvice(value: string): string {
  if (value.startsWith('http://'))
    return 'write https://; over plain http the token could be read on the way, so that is for loopback and private addresses only';
  return 'write central for ZeroTier Central, or scheme, host and port of your own controller, such as https://zt.home.example';
}

function urlAdvice(written: string): string {
  if (/[?#]|:\/\/[^/]*@/.test(written))
    return 'a URL with a password or a signed query is a secret, and has no place here; serve the file without: its hash is checked';
  const [unknown] = /\{(?!(version|arch|file)\})[^}]*\}?/.exec(written) ?? [];
  if (unknown !== undefined) return `there is no ${unknown}; there are {version}, {arch} and {file}`;
  return 'such as https://mirror.home.example/k3s/{version}/{file}';
}

function durationAdvice(written: string): string | undefined {
  const [, digits, unit] = /^(\d{1,9})\s*([a-z]*)$/i.exec(written) ?? [];
  if (digits === undefined) return undefined;
  if (!unit) return `add a unit: ${digits}s`;
  const short = /^(ms|[smh])/.exec(unit.toLowerCase().replace(/^milli.*/, 'ms'))?.[0];
  const proper = `${digits}${short}`;
  return short && proper !== written ? `write ${proper}` : undefined;
}

function taintAdvice(written: string): string | undefined {
  const [, before, effect] = /^([A-Za-z0-9._/=-]+)(?::([A-Za-z]*))?$/.exec(written) ?? [];
  if (before === undefined) return undefined;
  if (!effect) return `add the effect: ${before}:NoSchedule`;
  const near = suggest(effect, ['NoSchedule', 'PreferNoSchedule', 'NoExecute']);
  return near && near !== effect ? `did you mean ${before}:${near}?` : undefined;
}

function upstreamAdvice(written: string): string | undefined {
  if (/^[a-z][a-z0-9.-]*:\d+$/i.test(written))
    return 'write the IP address; names are not looked up here, so that the ingress starts without DNS';
  if (/^[0-9a-f.:[\]]+$/i.test(written) && !/[\d\]]:\d+$/.test(written))
    return 'add the port, for Traefik the NodePort: kubectl -n kube-system get service traefik';
  return undefined;
}

function byKind(path: Path, value: unknown, source: string | undefined): string | undefined {
  const wanted = wantedAt(path);
  const isScalar = typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
  if (typeof value === 'string') {
    const near = suggest(value, wordsAt(path));
    if (near && near !== value) return `did you mean ${near}?`;
    if (wanted.includes('number') && /^\d+$/.test(value)) return 'write the number without quotes';
    if (wanted.includes('boolean') && !wanted.includes('text'))
      return /^(yes|on|y)$/i.test(value)
        ? 'write true'
        : /^(no|off|n)$/i.test(value)
          ? 'write false'
          : 'write true or false, without quotes';
  }
  if ((typeof value === 'number' || typeof value === 'boolean') && wanted.includes('text')) {
    const written = source ?? String(value);
    if (/^[A-Za-z0-9_.+-]{1,40}$/.test(written)) return `put it in quotes: "${written}"`;
    return 'put it in quotes';
  }
  if (isScalar && wanted.includes('list') && !wanted.includes('text'))
    return 'write it as a list: [value], or - value on the next line';
  if (Array.isArray(value) && !wanted.includes('list'))
    return wanted.includes('mapping')
      ? 'write key: value lines without dashes'
      : 'write the value alone, without [ ] or a dash';
  if (!isScalar && !Array.isArray(value) && wanted.includes('list') && !wanted.includes('mapping'))
    return 'start each entry with a dash: - key: value';
  if (isScalar && wanted.includes('mapping') && !wanted.includes('text'))
    return 'write key: value lines below it, indented by two spaces';
  return undefined;
}
