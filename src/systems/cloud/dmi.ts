/**
 * Which cloud this is, by what its firmware says of itself (DMI). Decided before anything is asked over the network, so that a
 * host without a cloud never sends a packet to a metadata address, which there could be anybody's.
 */
import { join } from 'node:path';
import { readFileText } from '../files/atomic.ts';
import type { CloudName } from './types.ts';

/** The cloud, and its instance id where the firmware tells it. */
export type Detection =
  | { readonly provider: 'none' }
  | { readonly provider: CloudName; readonly instanceId: string | undefined };

/** What Azure's hosts have as chassis asset tag, everywhere (cloud-init, DataSourceAzure). */
const azureAssetTag = '7783-7084-3265-9085-8269-3286-77';

/** One field, trimmed and lower-case; empty where it is not there or not readable. */
async function readField(folder: string, name: string): Promise<string> {
  const read = await readFileText(join(folder, name), 4096);
  return read.kind === 'present' ? read.text.trim().toLowerCase() : '';
}

const fields = [
  'sys_vendor',
  'bios_vendor',
  'bios_version',
  'product_name',
  'product_uuid',
  'product_serial',
  'board_asset_tag',
  'chassis_asset_tag',
] as const;

/**
 * Reads /sys/class/dmi/id. EC2's Nitro instances and bare metal have `Amazon EC2` as vendor and the instance id as asset tag; Xen ones
 * have a version with `amazon` and a UUID that begins with `ec2` (the AWS guide "Identify EC2 Linux instances"). The others are known by
 * the same fields as cloud-init knows them by (tools/ds-identify); DigitalOcean and Hetzner have the instance id as serial number.
 */
export async function detectCloud(folder = '/sys/class/dmi/id'): Promise<Detection> {
  const read = await Promise.all(fields.map(async (name) => [name, await readField(folder, name)] as const));
  const dmi: Readonly<Partial<Record<(typeof fields)[number], string>>> = Object.fromEntries(read);
  const vendor = dmi.sys_vendor ?? '';
  const chassis = dmi.chassis_asset_tag ?? '';
  const numericId = /^\d{1,19}$/.exec(dmi.product_serial ?? '')?.[0];

  const isNitro = vendor === 'amazon ec2' || dmi.bios_vendor === 'amazon ec2';
  const isXen = (dmi.bios_version ?? '').includes('amazon') && (dmi.product_uuid ?? '').startsWith('ec2');
  if (isNitro || isXen) {
    return { provider: 'aws', instanceId: /^i-[0-9a-f]{8,32}$/.exec(dmi.board_asset_tag ?? '')?.[0] };
  }
  if (chassis === azureAssetTag) return { provider: 'azure', instanceId: undefined };
  if (dmi.product_name === 'google compute engine') return { provider: 'gcp', instanceId: undefined };
  if (vendor === 'digitalocean') return { provider: 'digitalocean', instanceId: numericId };
  if (vendor === 'hetzner') return { provider: 'hetzner', instanceId: numericId };
  if (chassis === 'oraclecloud.com') return { provider: 'oracle', instanceId: undefined };
  return { provider: 'none' };
}
