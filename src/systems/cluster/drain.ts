/**
 * Cordoning this node and evicting its pods, with what the kubelet itself may do: change its own Node object (but not its
 * taints), list its own pods, and evict them (Kubernetes, node rules in bootstrappolicy/policy.go and the admission plugin
 * NodeRestriction). DaemonSets are not asked about, which a kubelet may not see.
 *
 * Always true here: only this node's kubelet's certificate is used; each question has a deadline and a size limit.
 */
import * as z from 'zod/mini';
import { messageOf, SystemError } from '../error.ts';
import { createHttpClient, type HttpAnswer, type HttpQuestion } from '../http.ts';
import { kubeletNodeName, readKubeconfig } from './kubeconfig.ts';

export interface Pod {
  readonly namespace: string;
  readonly name: string;
  /** It ends with the node: a DaemonSet's, a static pod, or one that is over. */
  readonly stays: boolean;
}

/** Failures throw SystemError: `cluster-no-credentials`, `cluster-away`, `cluster-refused`, `cluster-unexpected`. */
export interface Drain {
  /** This node's name in the cluster. */
  nodeName(): Promise<string>;
  /** Keeps new pods off the node. Idempotent. */
  cordon(): Promise<void>;
  pods(): Promise<readonly Pod[]>;
  /** Asks for one eviction. `blocked`: a disruption budget does not allow it for now. */
  evict(pod: Pod): Promise<'going' | 'blocked'>;
}

const objectName = z.string().check(z.regex(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/));
const podList = z.object({
  metadata: z.optional(z.object({ continue: z.optional(z.string()) })),
  items: z.array(
    z.object({
      metadata: z.object({
        name: objectName,
        namespace: objectName,
        annotations: z.optional(z.record(z.string(), z.string())),
        ownerReferences: z.optional(z.array(z.object({ kind: z.string() }))),
      }),
      status: z.optional(z.object({ phase: z.optional(z.string()) })),
    }),
  ),
});

/** More than any node may run; kubelet's own limit is 110. */
const maxPods = 1_000;
const maxBytes = 32 * 1024 * 1024;

export function createDrain(options: { readonly kubeconfig: string; readonly deadlineMs: number }): Drain {
  async function ask(question: Pick<HttpQuestion, 'method' | 'body' | 'headers'>, path: string) {
    const { server, identity } = await readKubeconfig(options.kubeconfig);
    const http = createHttpClient(identity);
    try {
      const headers = { accept: 'application/json', 'user-agent': 'mooring', ...question.headers };
      const url = `${server}${path}`;
      return await http.ask({ ...question, url, headers, deadlineMs: options.deadlineMs, maxBytes });
    } catch (error) {
      throw new SystemError('cluster-away', `the API at ${server} cannot be asked: ${messageOf(error)}`, {
        cause: error,
      });
    } finally {
      await http.close();
    }
  }

  async function nodeName(): Promise<string> {
    const { identity } = await readKubeconfig(options.kubeconfig);
    const name = kubeletNodeName(identity.cert);
    if (name !== undefined && objectName.safeParse(name).success) return name;
    throw new SystemError('cluster-no-credentials', `${options.kubeconfig} names no kubelet's certificate`);
  }

  return {
    nodeName,
    async cordon() {
      const path = `/api/v1/nodes/${await nodeName()}`;
      const headers = { 'content-type': 'application/merge-patch+json' };
      const body = '{"spec":{"unschedulable":true}}';
      const answer = await ask({ method: 'PATCH', headers, body }, path);
      // A Node object that is not there needs no cordon.
      if (answer.status !== 404) needSuccess(answer, 'cordon');
    },
    async pods() {
      const selector = encodeURIComponent(`spec.nodeName=${await nodeName()}`);
      const found: Pod[] = [];
      let next = '';
      do {
        const rest = next === '' ? '' : `&continue=${encodeURIComponent(next)}`;
        const answer = await ask(
          { method: 'GET' },
          `/api/v1/pods?limit=250&fieldSelector=${selector}${rest}`,
        );
        needSuccess(answer, 'list of pods');
        const list = parse(answer.text);
        found.push(...list.items.map(podOf));
        next = list.metadata?.continue ?? '';
        if (found.length > maxPods || (next !== '' && list.items.length === 0))
          throw new SystemError('cluster-unexpected', 'the API tells of pods without end');
      } while (next !== '');
      return found;
    },
    async evict({ namespace, name }) {
      const body = JSON.stringify({
        apiVersion: 'policy/v1',
        kind: 'Eviction',
        metadata: { name, namespace },
      });
      const headers = { 'content-type': 'application/json' };
      const path = `/api/v1/namespaces/${namespace}/pods/${name}/eviction`;
      const answer = await ask({ method: 'POST', headers, body }, path);
      if (answer.status === 429) return 'blocked';
      if (answer.status !== 404) needSuccess(answer, `eviction of ${namespace}/${name}`);
      return 'going';
    },
  };
}

type RawPod = z.infer<typeof podList>['items'][number];

function podOf({ metadata, status }: RawPod): Pod {
  const { name, namespace, annotations = {}, ownerReferences = [] } = metadata;
  const isStatic = 'kubernetes.io/config.mirror' in annotations;
  const isDaemon = ownerReferences.some(({ kind }) => kind === 'DaemonSet');
  const isOver = status?.phase === 'Succeeded' || status?.phase === 'Failed';
  return { namespace, name, stays: isStatic || isDaemon || isOver };
}

function needSuccess({ status }: HttpAnswer, what: string): void {
  if (status >= 200 && status < 300) return;
  const code = status === 401 || status === 403 ? 'cluster-refused' : 'cluster-unexpected';
  throw new SystemError(
    status === 429 || status >= 500 ? 'cluster-away' : code,
    `the API answers the ${what} with status ${status}`,
  );
}

function parse(text: string): z.infer<typeof podList> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new SystemError('cluster-unexpected', "the API's list of pods is no JSON", { cause: error });
  }
  const parsed = podList.safeParse(value);
  if (parsed.success) return parsed.data;
  const place = parsed.error.issues[0]?.path.join('.') ?? '';
  throw new SystemError('cluster-unexpected', `the API's list of pods has not the expected form: ${place}`);
}
