import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { detectCloud } from '#src/systems/cloud/dmi.ts';

const machines: readonly (readonly [
  name: string,
  fields: Readonly<Record<string, string>>,
  expected: object,
])[] = [
  ['nothing', {}, { provider: 'none' }],
  [
    'QEMU at home',
    { sys_vendor: 'QEMU', product_name: 'Standard PC', product_serial: '42' },
    { provider: 'none' },
  ],
  [
    'Nitro',
    { sys_vendor: 'Amazon EC2', board_asset_tag: 'i-0123456789abcdef0' },
    { provider: 'aws', instanceId: 'i-0123456789abcdef0' },
  ],
  [
    'Xen of AWS',
    { sys_vendor: 'Xen', bios_version: '4.11.amazon', product_uuid: 'EC2AB000-0000' },
    { provider: 'aws', instanceId: undefined },
  ],
  [
    'Azure',
    { sys_vendor: 'Microsoft Corporation', chassis_asset_tag: '7783-7084-3265-9085-8269-3286-77' },
    { provider: 'azure', instanceId: undefined },
  ],
  [
    'Hyper-V at home',
    { sys_vendor: 'Microsoft Corporation', chassis_asset_tag: '1234' },
    { provider: 'none' },
  ],
  ['Google Cloud', { product_name: 'Google Compute Engine' }, { provider: 'gcp', instanceId: undefined }],
  ['a Chromebook', { sys_vendor: 'Google', product_name: 'Kohaku' }, { provider: 'none' }],
  [
    'a droplet',
    { sys_vendor: 'DigitalOcean', product_serial: '2756294' },
    { provider: 'digitalocean', instanceId: '2756294' },
  ],
  ['Hetzner', { sys_vendor: 'Hetzner', product_serial: 'x' }, { provider: 'hetzner', instanceId: undefined }],
  [
    'Oracle',
    { sys_vendor: 'QEMU', chassis_asset_tag: 'OracleCloud.com' },
    { provider: 'oracle', instanceId: undefined },
  ],
];

describe('the firmware', () => {
  for (const [name, fields, expected] of machines) {
    test(`of ${name} tells which cloud it is`, async (context) => {
      const folder = mkdtempSync(join(tmpdir(), 'mooring-dmi-'));
      context.after(() => rmSync(folder, { recursive: true }));
      for (const [field, value] of Object.entries(fields)) writeFileSync(join(folder, field), `${value}\n`);
      assert.deepEqual(await detectCloud(folder), expected);
    });
  }
});
