/** What the firmware of each cloud's machines says (files of /sys/class/dmi/id), as cloud-init's ds-identify and the clouds' guides have it. */
import type { MetadataCloud } from './clouds.ts';

export const firmware: Readonly<Record<MetadataCloud, Readonly<Record<string, string>>>> = {
  aws: { sys_vendor: 'Amazon EC2', board_asset_tag: 'i-0123456789abcdef0' },
  azure: { sys_vendor: 'Microsoft Corporation', chassis_asset_tag: '7783-7084-3265-9085-8269-3286-77' },
  gcp: { sys_vendor: 'Google', product_name: 'Google Compute Engine' },
  digitalocean: { sys_vendor: 'DigitalOcean', product_serial: '2756294' },
  hetzner: { sys_vendor: 'Hetzner', product_serial: '42000001' },
  oracle: { sys_vendor: 'QEMU', chassis_asset_tag: 'OracleCloud.com' },
};
