/**
 * Which cloud this is, by what its firmware says of itself (DMI). Decided before anything is asked over the network, so that a
 * host without a cloud never sends a packet to a metadata address, which there could be anybody's.
 */
import { join } from 'node:path';
import { readFileText } from '../files/atomic.ts';

/** The cloud, and its instance id where the firmware tells it. */
export type Detection =
  | { readonly provider: 'none' }
  | { readonly provider: 'aws'; readonly instanceId: string | undefined };

/** One field, trimmed and lower-case; empty where it is not there or not readable. */
async function readField(folder: string, name: string): Promise<string> {
  const read = await readFileText(join(folder, name), 4096);
  return read.kind === 'present' ? read.text.trim().toLowerCase() : '';
}

/**
 * Reads /sys/class/dmi/id. EC2's Nitro instances and bare metal have `Amazon EC2` as vendor and the instance id as asset tag; Xen ones
 * have a version with `amazon` and a UUID that begins with `ec2` (the AWS guide "Identify EC2 Linux instances").
 */
export async function detectCloud(folder = '/sys/class/dmi/id'): Promise<Detection> {
  const names = ['sys_vendor', 'bios_vendor', 'bios_version', 'product_uuid', 'board_asset_tag'];
  const [system, bios, version, uuid, assetTag] = await Promise.all(
    names.map((name) => readField(folder, name)),
  );
  const nitro = system === 'amazon ec2' || bios === 'amazon ec2';
  const xen = (version ?? '').includes('amazon') && (uuid ?? '').startsWith('ec2');
  if (!nitro && !xen) return { provider: 'none' };
  return { provider: 'aws', instanceId: /^i-[0-9a-f]{8,32}$/.exec(assetTag ?? '')?.[0] };
}
