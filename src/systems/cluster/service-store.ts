/**
 * What is known of Services, on disk: the door works without the cluster, also after a restart. A file that is missing, cut short
 * or not what mooring writes counts as never written, as a whole; the latter two are told.
 */
import { isIP } from 'node:net';
import * as z from 'zod/mini';
import { readFileText } from '../files/atomic.ts';
import { saveJson } from '../files/json-file.ts';
import type { ServiceReading } from './service-types.ts';

/** What is kept of one. */
export type KnownService = Omit<ServiceReading, 'state' | 'answering'>;

/** Twice what a config can want, with more ports than a Service has. */
const maxServices = 128;
const maxPorts = 2_000;
const maxBytes = 4 * 1024 * 1024;

const portNumber = z
  .number()
  .check(z.refine((value) => Number.isInteger(value) && value >= 1 && value <= 65_535));

const reach = z.union([
  z.strictObject({ kind: z.literal('loopback') }),
  z.strictObject({
    kind: z.literal('node'),
    address: z.string().check(z.refine((value) => isIP(value) !== 0 && !value.includes('%'))),
  }),
]);

const kept = z.strictObject({
  version: z.literal(1),
  services: z.record(
    z.string().check(z.regex(/^[a-z0-9-]{1,63}\/[a-z0-9-]{1,63}$/)),
    z.strictObject({
      ports: z
        .array(
          z.strictObject({
            name: z.string().check(z.regex(/^[a-z0-9-]{0,63}$/)),
            port: portNumber,
            protocol: z.enum(['tcp', 'udp']),
            nodePort: portNumber,
            isTold: z.boolean(),
          }),
        )
        .check(z.maxLength(maxPorts)),
      asOfMs: z.number().check(z.refine((value) => value >= 0 && value <= 8_640_000_000_000_000)),
      reach: z.strictObject({ tcp: z.optional(reach), udp: z.optional(reach) }),
    }),
  ),
});

/** What is kept in `path`, by `namespace/name`, and why it cannot be used where that is so. */
export async function loadServices(
  path: string,
): Promise<{ readonly known: ReadonlyMap<string, KnownService>; readonly problem: string | undefined }> {
  const none = (problem?: string) => ({ known: new Map<string, KnownService>(), problem });
  const read = await readFileText(path, maxBytes);
  if (read.kind === 'absent') return none();
  if (read.kind === 'unreadable') return none(read.error);
  try {
    const parsed = kept.safeParse(JSON.parse(read.text));
    if (!parsed.success)
      return none(`${parsed.error.issues[0]?.path.join('.') || 'it'} has not the expected form`);
    const services = Object.entries(parsed.data.services);
    if (services.length > maxServices) return none(`it tells of more than ${maxServices} Services`);
    const known = services.map(
      ([
        name,
        {
          reach: { tcp, udp },
          ...rest
        },
      ]) => [name, { ...rest, reach: { tcp, udp } }] as const,
    );
    return { known: new Map(known), problem: undefined };
  } catch {
    return none('it is no JSON');
  }
}

/** Keeps what is known; what nothing was ever told of is left out. Throws as `writeFileAtomic`. */
export async function saveServices(path: string, known: ReadonlyMap<string, KnownService>): Promise<void> {
  const services = [...known].flatMap(([name, { ports, asOfMs, reach }]) =>
    asOfMs === undefined ? [] : [[name, { ports, asOfMs, reach }] as const],
  );
  await saveJson(path, { version: 1, services: Object.fromEntries(services) }, 0o644);
}
