/**
 * Questions to the Kubernetes API through the load balancer of k3s' agent, with credentials that k3s has left on the node.
 *
 * Always true here: nothing but GET; each question has a deadline and a size limit, and a connection of its own; the server is
 * checked against the CA of the kubeconfig; certificates are read anew for each question, so a renewal needs no notice.
 *
 * Since Kubernetes 1.32 a kubelet sees its own Node object alone (feature AuthorizeNodeWithSelectors). k3s' flannel then takes
 * the agent's second identity, `system:k3s-controller` (k3s, pkg/agent/flannel/setup.go), and so does this: the kubeconfigs are
 * tried in their order, and the one that was let in is tried first from then on.
 */
import { messageOf, SystemError } from '../error.ts';
import { createHttpClient, type HttpClient } from '../http.ts';
import { kubeletNodeName, readKubeconfig } from './kubeconfig.ts';

export interface ClusterApiOptions {
  /** Paths of kubeconfigs; the first is the kubelet's. */
  readonly kubeconfigs: readonly [string, ...(readonly string[])];
  /** For each request. */
  readonly deadlineMs: number;
}

/** Asks; `close` ends what is under way, which then fails. */
export interface ClusterApi {
  /**
   * The body that `path` answers 200 with, up to `maxBytes` of it. Throws SystemError `cluster-no-credentials`,
   * `cluster-unauthorized` (401), `cluster-forbidden` (403), `cluster-not-found` (404), `cluster-gone` (410: what was to be
   * continued is too old), `cluster-busy` (429 and 5xx), `cluster-unexpected` (any other status), or `cluster-away`.
   */
  get(path: string, maxBytes: number): Promise<string>;
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

  async function getWith(kubeconfig: string, path: string, maxBytes: number): Promise<string> {
    const { server, identity } = await readKubeconfig(kubeconfig);
    if (isClosed) throw new SystemError('cluster-away', 'mooring has stopped asking');
    const http = createHttpClient(identity);
    underWay.add(http);
    const headers = { accept: 'application/json', 'accept-encoding': 'gzip', 'user-agent': 'mooring' };
    try {
      const url = `${server}${path}`;
      const { status, text } = await http.ask({ method: 'GET', url, headers, deadlineMs, maxBytes });
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

  return {
    async get(path, maxBytes) {
      const order = [letIn, ...kubeconfigs.filter((other) => other !== letIn)];
      let refusal: unknown;
      for (const kubeconfig of order) {
        try {
          const body = await getWith(kubeconfig, path, maxBytes);
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
