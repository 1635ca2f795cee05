/**
 * Questions to the Kubernetes API through the load balancer of k3s' agent, with credentials that k3s has left on the node.
 *
 * Always true here: nothing but GET; each question, a watch too, has a deadline, size limits and a connection of its own; the server is
 * checked against the CA of the kubeconfig; certificates are read anew for each question, so a renewal needs no notice.
 *
 * Since Kubernetes 1.32 a kubelet sees its own Node object alone (feature AuthorizeNodeWithSelectors). k3s' flannel then takes
 * the agent's second identity, `system:k3s-controller` (k3s, pkg/agent/flannel/setup.go), and so does this: the kubeconfigs are
 * tried in their order, and the one that was let in is tried first from then on.
 */
import { messageOf, SystemError } from '../error.ts';
import { createHttpClient, type HttpClient, type HttpQuestion } from '../http.ts';
import { kubeletNodeName, readKubeconfig } from './kubeconfig.ts';

export interface ClusterApiOptions {
  /** Paths of kubeconfigs; the first is the kubelet's. */
  readonly kubeconfigs: readonly [string, ...(readonly string[])];
  /** For each request. */
  readonly deadlineMs: number;
}

/** How long a watch may be. */
export interface WatchLimits {
  readonly lastsMs: number;
  readonly maxLineBytes: number;
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

/** Asks; `close` ends what is under way, which then fails. */
export interface ClusterApi {
  /**
   * The body that `path` answers 200 with, up to `maxBytes` of it. Throws SystemError `cluster-no-credentials`,
   * `cluster-unauthorized` (401), `cluster-forbidden` (403), `cluster-not-found` (404), `cluster-gone` (410: what was to be
   * continued is too old), `cluster-busy` (429 and 5xx), `cluster-unexpected` (any other status), or `cluster-away`.
   */
  get(path: string, maxBytes: number, signal?: AbortSignal): Promise<string>;
  /**
   * Hands over each line of the answer as it comes. Resolves when the server ends it, which it is to do within `lastsMs`; throws
   * as `get`, what `onLine` throws, and `cluster-unexpected` for a line that is too long.
   */
  watch(path: string, limits: WatchLimits, onLine: (line: string) => void): Promise<void>;
  /** This node's name in the cluster, from the kubelet's certificate. Throws SystemError `cluster-no-credentials`. */
  nodeName(): Promise<string>;
  close(): Promise<void>;
}

/** For each request; a list is one for each page of nodes. */
const agentDeadlineMs = 10_000;

/** The API as k3s' agent on this node reaches it; `dataDir` is the agent's. */
export function createAgentApi(dataDir: string): ClusterApi {
  const kubeconfigs = [
    `${dataDir}/agent/kubelet.kubeconfig`,
    `${dataDir}/agent/k3scontroller.kubeconfig`,
  ] as const;
  return createClusterApi({ kubeconfigs, deadlineMs: agentDeadlineMs });
}

/** Asks nothing by itself. */
export function createClusterApi({ kubeconfigs, deadlineMs }: ClusterApiOptions): ClusterApi {
  let letIn = kubeconfigs[0];
  let isClosed = false;
  const underWay = new Set<HttpClient>();

  async function askWith(kubeconfig: string, question: ApiQuestion): Promise<string> {
    const { server, identity } = await readKubeconfig(kubeconfig);
    if (isClosed) throw new SystemError('cluster-away', 'mooring has stopped asking');
    const http = createHttpClient(identity);
    underWay.add(http);
    const { path, isWatch, ...rest } = question;
    // A watch is read line by line as it comes, which a compressed one would not be.
    const encoding = isWatch ? {} : { 'accept-encoding': 'gzip' };
    const headers = { accept: 'application/json', 'user-agent': 'mooring', ...encoding };
    try {
      const { status, text } = await http.ask({ method: 'GET', url: `${server}${path}`, headers, ...rest });
      if (status === 200) return text;
      throw statusError(status, server);
    } catch (error) {
      if (error instanceof SystemError && error.code !== 'http-failed') throw error;
      throw new SystemError('cluster-away', `the API at ${server} cannot be asked: ${messageOf(error)}`, {
        cause: error,
      });
    } finally {
      underWay.delete(http);
      await http.close();
    }
  }

  async function ask(question: ApiQuestion): Promise<string> {
    const order = [letIn, ...kubeconfigs.filter((other) => other !== letIn)];
    let refusal: unknown;
    for (const kubeconfig of order) {
      try {
        const body = await askWith(kubeconfig, question);
        letIn = kubeconfig;
        return body;
      } catch (error) {
        const isForbidden = error instanceof SystemError && error.code === 'cluster-forbidden';
        // A second identity that is not there says less than the refusal of the first.
        if (!isForbidden) throw refusal ?? error;
        refusal = error;
      }
    }
    throw refusal;
  }

  return {
    get: (path, maxBytes, signal) => ask({ path, isWatch: false, maxBytes, deadlineMs, ...given(signal) }),
    async watch(path, { lastsMs, maxLineBytes, maxBytes, signal }, onLine) {
      let broken: unknown;
      const split = lineSplitter(maxLineBytes, onLine);
      const onChunk = (chunk: Buffer) => {
        try {
          split(chunk);
        } catch (error) {
          broken = error;
          throw error;
        }
      };
      try {
        const limits = { maxBytes, beginMs: deadlineMs, deadlineMs: lastsMs + deadlineMs };
        await ask({ path, isWatch: true, ...limits, onChunk, signal });
      } catch (error) {
        throw broken ?? error;
      }
    },
    async nodeName() {
      const { identity } = await readKubeconfig(kubeconfigs[0]);
      const name = kubeletNodeName(identity.cert);
      if (name !== undefined) return name;
      throw new SystemError(
        'cluster-no-credentials',
        `the certificate that ${kubeconfigs[0]} names is no kubelet's`,
      );
    },
    async close() {
      isClosed = true;
      await Promise.all([...underWay].map((http) => http.close()));
    },
  };
}

/** What is asked, and within which limits. */
type ApiQuestion = Omit<HttpQuestion, 'method' | 'url' | 'headers' | 'body'> & {
  readonly path: string;
  readonly isWatch: boolean;
};

const given = (signal: AbortSignal | undefined) => (signal === undefined ? {} : { signal });

/** Hands over whole lines of up to `maxBytes`; the rest that has no end is dropped. */
function lineSplitter(maxBytes: number, onLine: (line: string) => void): (chunk: Buffer) => void {
  let begun: Buffer[] = [];
  let begunBytes = 0;
  return (chunk) => {
    let from = 0;
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, from)) {
      const line = Buffer.concat([...begun, chunk.subarray(from, end)]);
      begun = [];
      begunBytes = 0;
      from = end + 1;
      if (line.length > maxBytes) throw tooLong(maxBytes);
      onLine(line.toString('utf8'));
    }
    begun.push(chunk.subarray(from));
    if (begun.length > maxPieces) begun = [Buffer.concat(begun)];
    begunBytes += chunk.length - from;
    if (begunBytes > maxBytes) throw tooLong(maxBytes);
  };
}

const newline = 0x0a;
/** Who sends byte by byte does not have us keep a buffer for each. */
const maxPieces = 1_000;
const tooLong = (maxBytes: number) =>
  new SystemError('cluster-unexpected', `the API sends a line of more than ${maxBytes} bytes`);

function statusError(status: number, server: string): SystemError {
  const answers = `the API at ${server} answers with status ${status}`;
  switch (status) {
    case 401:
      return new SystemError('cluster-unauthorized', `${answers}: it does not know this node's certificate`);
    case 403:
      return new SystemError('cluster-forbidden', `${answers}: this node may not see that`);
    case 404:
      return new SystemError('cluster-not-found', answers);
    case 410:
      return new SystemError('cluster-gone', answers);
    default:
      return new SystemError(
        status === 429 || status >= 500 ? 'cluster-busy' : 'cluster-unexpected',
        answers,
      );
  }
}
