/**
 * One Service as the API tells it, in a list and in the events of a watch (Kubernetes, API concepts, "Efficient detection of
 * changes"). Unknown fields are let through and dropped; a field of a wrong type, or another object than the one that was asked
 * for, is an error that names it.
 */
import * as z from 'zod/mini';
import { SystemError } from '../error.ts';
import type { ClusterApi } from './api.ts';
import { parseAnswer } from './nodes.ts';
import type { ServicePort } from './service-types.ts';

/** What an answer says. */
export interface ServiceAnswer {
  /** Where a watch goes on from. */
  readonly resourceVersion: string;
  /** Its NodePorts, undefined where the Service is not there. A Service without any has none here. */
  readonly ports: readonly ServicePort[] | undefined;
}

/** An event of a watch: an answer, or no more than where to go on from. */
export type ServiceEvent = ServiceAnswer | { readonly resourceVersion: string };

const version = z.string().check(z.regex(/^[\x21-\x7e]{1,128}$/));
const portNumber = (least: number) =>
  z.number().check(z.refine((value) => Number.isInteger(value) && value >= least && value <= 65_535));

const service = z.object({
  metadata: z.object({ namespace: z.string(), name: z.string(), resourceVersion: version }),
  spec: z.object({
    ports: z.optional(
      z
        .array(
          z.object({
            name: z.optional(z.string().check(z.regex(/^[a-z0-9-]{0,63}$/))),
            port: portNumber(1),
            protocol: z.optional(z.string()),
            // 0 stands for none.
            nodePort: z.optional(portNumber(0)),
          }),
        )
        .check(z.maxLength(1_000)),
    ),
  }),
});

const list = z.object({
  metadata: z.object({ resourceVersion: version }),
  items: z.array(service).check(z.maxLength(1)),
});
const event = z.object({ type: z.string(), object: z.record(z.string(), z.unknown()) });
const bookmark = z.object({ metadata: z.object({ resourceVersion: version }) });
const failure = z.object({ code: z.optional(z.number()), message: z.optional(z.string()) });

/** A Service is 2 to 10 KB; its annotations may be 256 KB. */
const maxServiceBytes = 1024 * 1024;
/** Of the events of a watch over some minutes. */
const maxWatchBytes = 16 * maxServiceBytes;

/** Asks for one, by `namespace/name`. Throws what the API throws, and SystemError `cluster-unexpected` for an answer that is none. */
export async function listService(
  api: Pick<ClusterApi, 'get'>,
  name: string,
  signal: AbortSignal,
): Promise<ServiceAnswer> {
  const { metadata, items } = parseAnswer(list, await api.get(pathOf(name), maxServiceBytes, signal));
  const [item] = items;
  const ports = item === undefined ? undefined : portsOf(item, name);
  return { resourceVersion: metadata.resourceVersion, ports };
}

/**
 * Tells each event after `resourceVersion` until the server ends the watch, which it is asked to do after `lastsMs`. Throws as
 * `listService` and what `onEvent` throws; `cluster-gone` where the server has forgotten what was then.
 */
export function watchService(
  api: Pick<ClusterApi, 'watch'>,
  name: string,
  { resourceVersion, lastsMs, signal }: { resourceVersion: string; lastsMs: number; signal: AbortSignal },
  onEvent: (event: ServiceEvent) => void,
): Promise<void> {
  const query = `&watch=true&allowWatchBookmarks=true&timeoutSeconds=${Math.ceil(lastsMs / 1_000)}`;
  const path = `${pathOf(name)}${query}&resourceVersion=${encodeURIComponent(resourceVersion)}`;
  const limits = { lastsMs, maxLineBytes: maxServiceBytes, maxBytes: maxWatchBytes, signal };
  return api.watch(path, limits, (line) => {
    if (line.trim() !== '') onEvent(parseEvent(line, name));
  });
}

function parseEvent(line: string, name: string): ServiceEvent {
  const { type, object } = parseAnswer(event, line);
  switch (type) {
    case 'ADDED':
    case 'MODIFIED':
    case 'DELETED': {
      const found = parseAnswer(service, object);
      const ports = portsOf(found, name);
      const { resourceVersion } = found.metadata;
      return { resourceVersion, ports: type === 'DELETED' ? undefined : ports };
    }
    case 'BOOKMARK':
      return { resourceVersion: parseAnswer(bookmark, object).metadata.resourceVersion };
    case 'ERROR': {
      const { code, message = '' } = parseAnswer(failure, object);
      const words = `the API ends the watch with status ${code}: ${message.replace(/\p{Cc}+/gu, ' ').slice(0, 200)}`;
      throw new SystemError(code === 410 ? 'cluster-gone' : 'cluster-busy', words);
    }
    default:
      throw new SystemError('cluster-unexpected', "the API's answer is none: an event of an unknown type");
  }
}

/** The namespace and name are the config's, which lets no other character in; encoded all the same. */
function pathOf(service: string): string {
  const [namespace = '', name = ''] = service.split('/').map(encodeURIComponent);
  return `/api/v1/namespaces/${namespace}/services?fieldSelector=metadata.name%3D${name}`;
}

function portsOf({ metadata, spec }: z.infer<typeof service>, wanted: string): readonly ServicePort[] {
  if (`${metadata.namespace}/${metadata.name}` !== wanted)
    throw new SystemError(
      'cluster-unexpected',
      `the API's answer is none: it is about another Service than ${wanted}`,
    );
  return (spec.ports ?? []).flatMap(({ name = '', port, protocol = 'TCP', nodePort = 0 }) => {
    const known = protocol === 'TCP' ? 'tcp' : protocol === 'UDP' ? 'udp' : undefined;
    return nodePort === 0 || known === undefined
      ? []
      : [{ name, port, protocol: known, nodePort, isTold: true }];
  });
}
