/** Which machine this is: what tells a disk's copy on another instance from the disk itself. Every part may be unknown. */
import { readFileText } from '../files/atomic.ts';

/** Each in lower case; undefined where nobody tells. */
export interface Instance {
  /** The cloud's, as cloud-init found it at this boot. */
  readonly instanceId: string | undefined;
  /** The (virtual) machine's, from its firmware. */
  readonly productUuid: string | undefined;
  /** The installation's. A plain copy of a disk keeps it. */
  readonly machineId: string | undefined;
}

/** Reads it below `root`. Only root may read the firmware's. Never throws. */
export async function readInstance(root = ''): Promise<Instance> {
  const [instanceId, productUuid, machineId] = await Promise.all([
    word(`${root}/var/lib/cloud/data/instance-id`),
    word(`${root}/sys/class/dmi/id/product_uuid`),
    word(`${root}/etc/machine-id`),
  ]);
  const isNone = productUuid === undefined || /^[0f-]+$/.test(productUuid);
  return {
    instanceId: instanceId === 'none' ? undefined : instanceId,
    productUuid: isNone ? undefined : productUuid,
    machineId: machineId === 'uninitialized' ? undefined : machineId,
  };
}

async function word(path: string): Promise<string | undefined> {
  const read = await readFileText(path, 4096);
  const text = read.kind === 'present' ? read.text.trim().toLowerCase() : '';
  return /^[\x21-\x7e]{1,128}$/.test(text) ? text : undefined;
}

/** Reads what was written of one; undefined where it is none. */
export function parseInstance(value: unknown): Instance | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const fields: Readonly<Record<string, unknown>> = { ...value };
  const text = (key: string) => (typeof fields[key] === 'string' ? fields[key] : undefined);
  const instance = {
    instanceId: text('instanceId'),
    productUuid: text('productUuid'),
    machineId: text('machineId'),
  };
  return Object.values(instance).every((part) => part === undefined) ? undefined : instance;
}

/**
 * Whether `now` is another instance than `before`. The cloud's and the firmware's word count, and the installation's only where
 * neither can be compared: people renew it for other reasons.
 */
export function isOtherInstance(before: Instance, now: Instance): boolean {
  const differ = (one: string | undefined, other: string | undefined) =>
    one === undefined || other === undefined ? undefined : one !== other;
  const byCloud = differ(before.instanceId, now.instanceId);
  const byFirmware = differ(normalUuid(before.productUuid), normalUuid(now.productUuid));
  if (byCloud === undefined && byFirmware === undefined)
    return differ(before.machineId, now.machineId) ?? false;
  return byCloud === true || byFirmware === true;
}

/** The first three groups come in either byte order, by kernel and hypervisor (as on Azure); one form for both. */
function normalUuid(uuid: string | undefined): string | undefined {
  const groups = uuid?.split('-');
  if (groups === undefined || groups.length !== 5) return uuid;
  const swapped = groups.map((group, i) => (i < 3 ? (group.match(/../g) ?? []).reverse().join('') : group));
  return [groups.join('-'), swapped.join('-')].sort()[0];
}
