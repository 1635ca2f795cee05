/** Addresses between text and the bytes that resolved takes. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  addressToBytes,
  bytesToAddress,
  canonicalAddress,
  serverText,
} from '#src/systems/resolved/address.ts';

describe('addresses', () => {
  for (const [text, canonical] of [
    ['10.45.0.1', '10.45.0.1'],
    ['255.255.255.255', '255.255.255.255'],
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['FD00:0:0:0:0:0:0:53', 'fd00::53'],
    ['fd00:0000::0053', 'fd00::53'],
    ['2001:db8:0:1:0:0:0:1', '2001:db8:0:1::1'],
    ['2001:0:0:1:0:0:1:1', '2001::1:0:0:1:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['1:2:3:4:5:6:0:0', '1:2:3:4:5:6::'],
    ['::ffff:10.45.0.1', '::ffff:a2d:1'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ] as const) {
    test(`${text} is ${canonical}`, () => {
      assert.equal(canonicalAddress(text), canonical);
      const bytes = addressToBytes(text);
      assert(bytes !== undefined);
      assert.equal(bytes.bytes.length, bytes.family === 2 ? 4 : 16);
      assert.equal(bytesToAddress(bytes), canonical);
    });
  }

  for (const text of ['', 'dns.home', '10.45.0', '10.45.0.256', 'fe80::1%eth0', '1::2::3', '10.45.0.1/24']) {
    test(`'${text}' is no address`, () => {
      assert.equal(addressToBytes(text), undefined);
    });
  }

  test('a family that does not fit the length is no address', () => {
    assert.equal(bytesToAddress({ family: 2, bytes: Buffer.alloc(16) }), undefined);
    assert.equal(bytesToAddress({ family: 10, bytes: Buffer.alloc(4) }), undefined);
    assert.equal(bytesToAddress({ family: 1, bytes: Buffer.alloc(4) }), undefined);
  });

  test('a server with a port or a name is told apart from its bare address', () => {
    assert.equal(serverText('10.0.0.1', 0, ''), '10.0.0.1');
    assert.equal(serverText('10.0.0.1', 853, 'dns.home'), '10.0.0.1:853#dns.home');
    assert.equal(serverText('fd00::53', 53, ''), '[fd00::53]:53');
    assert.equal(serverText('fd00::53', 0, 'dns.home'), 'fd00::53#dns.home');
  });
});
