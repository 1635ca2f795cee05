/**
 * kubeconfig files as k3s' agent writes them (k3s, pkg/agent/config/config.go): the address of its own load balancer, the CA,
 * and a client certificate with its key, by path.
 *
 * Always true here: nothing is kept, since k3s replaces the files when it renews its certificates; no content of a file
 * appears in an error; what a kubeconfig may ask for beyond that (no check of the server, a proxy, a program to run) is not done.
 */
import { X509Certificate } from 'node:crypto';
import { dirname, resolve } from 'node:path';
import { parse } from 'yaml';
import * as z from 'zod/mini';
import { SystemError } from '../error.ts';
import { readFileText } from '../files/atomic.ts';

/** Where to ask, whom to believe, and as whom. */
export interface Credentials {
  /** `https://host:port`. */
  readonly server: string;
  /** In PEM. */
  readonly identity: { readonly ca: string; readonly cert: string; readonly key: string };
}

const maxBytes = 256 * 1024;
const text = z.optional(z.string());

const kubeconfig = z.object({
  'current-context': z.string(),
  clusters: z.array(
    z.object({
      name: z.string(),
      cluster: z.object({
        server: z.string(),
        'certificate-authority': text,
        'certificate-authority-data': text,
      }),
    }),
  ),
  contexts: z.array(
    z.object({ name: z.string(), context: z.object({ cluster: z.string(), user: z.string() }) }),
  ),
  users: z.array(
    z.object({
      name: z.string(),
      user: z.object({
        'client-certificate': text,
        'client-certificate-data': text,
        'client-key': text,
        'client-key-data': text,
      }),
    }),
  ),
});

const unusable = (path: string, why: string) =>
  new SystemError('cluster-no-credentials', `${path} cannot be used: ${why}`);

/** Reads one with all that it names. Throws SystemError `cluster-no-credentials`. */
export async function readKubeconfig(path: string): Promise<Credentials> {
  const { clusters, contexts, users, ...rest } = decode(path, await contentOf(path));
  const context = contexts.find(({ name }) => name === rest['current-context'])?.context;
  const cluster = clusters.find(({ name }) => name === context?.cluster)?.cluster;
  const user = users.find(({ name }) => name === context?.user)?.user;
  if (cluster === undefined || user === undefined)
    throw unusable(path, 'its current context names no cluster and user');
  const part = async (what: string, file: string | undefined, data: string | undefined) => {
    if (data !== undefined) return Buffer.from(data, 'base64').toString('latin1');
    if (file === undefined) throw unusable(path, `it names no ${what}`);
    return contentOf(resolve(dirname(path), file));
  };
  return {
    server: originOf(path, cluster.server),
    identity: {
      ca: await part('CA', cluster['certificate-authority'], cluster['certificate-authority-data']),
      cert: await part('client certificate', user['client-certificate'], user['client-certificate-data']),
      key: await part('client key', user['client-key'], user['client-key-data']),
    },
  };
}

/** The node whose kubelet a certificate is: its subject is `O=system:nodes, CN=system:node:NAME`. Undefined where it is none. */
export function kubeletNodeName(certificate: string): string | undefined {
  try {
    return /^CN=system:node:(\S+)$/m.exec(new X509Certificate(certificate).subject)?.[1];
  } catch {
    return undefined;
  }
}

async function contentOf(path: string): Promise<string> {
  const read = await readFileText(path, maxBytes);
  if (read.kind === 'present') return read.text;
  throw read.kind === 'absent'
    ? new SystemError('cluster-no-credentials', `there is no ${path}`)
    : unusable(path, read.error);
}

/** Neither the parser's message nor its cause is told: both quote the text. */
function decode(path: string, content: string): z.infer<typeof kubeconfig> {
  let value: unknown;
  try {
    value = parse(content, { maxAliasCount: 0 });
  } catch {
    throw unusable(path, 'it is no YAML');
  }
  const parsed = kubeconfig.safeParse(value);
  if (parsed.success) return parsed.data;
  const place = parsed.error.issues[0]?.path.join('.') ?? '';
  throw unusable(path, place === '' ? 'it is no kubeconfig' : `${place} is missing or of a wrong type`);
}

function originOf(path: string, server: string): string {
  const url = URL.canParse(server) ? new URL(server) : undefined;
  if (url?.protocol !== 'https:' || url.username !== '' || url.password !== '')
    throw unusable(path, 'its server is no https URL');
  return url.origin;
}
