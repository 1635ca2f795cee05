import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reverseZones } from '../../../src/agent/reverse-zones.ts';

const table: readonly (readonly [string, readonly string[]])[] = [
  ['10.45.0.7/24', ['0.45.10.in-addr.arpa']],
  ['10.45.0.7/16', ['45.10.in-addr.arpa']],
  ['10.45.9.7/23', ['8.45.10.in-addr.arpa', '9.45.10.in-addr.arpa']],
  ['10.45.9.7/32', ['7.9.45.10.in-addr.arpa']],
  ['10.45.9.7/12', Array.from({ length: 16 }, (_, index) => `${32 + index}.10.in-addr.arpa`)],
  ['10.45.9.7/9', ['10.in-addr.arpa']],
  ['10.45.9.7/7', []],
  ['fd00:1:2::5/64', ['0.0.0.0.2.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa']],
  ['fd80:56c2:e21c::1/40', ['2.e.2.c.6.5.0.8.d.f.ip6.arpa']],
  ['fd80:56c2:e21c::1/12', []],
  ['not an address/24', []],
  ['10.45.0.7', []],
];
for (const [cidr, expected] of table) {
  test(`${cidr} has the reverse zones ${expected.slice(0, 2).join(', ') || 'of nobody'}`, () => {
    assert.deepEqual(reverseZones(cidr), expected);
  });
}
