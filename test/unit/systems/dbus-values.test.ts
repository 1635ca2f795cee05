/** Paths, match rules and guards of D-Bus values. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  asBytes,
  asStructs,
  changedProperties,
  newOwnerOf,
  ownerMatch,
  pathLabel,
  signalMatch,
  unpack,
} from '#src/systems/dbus/values.ts';

const signal = { sender: ':1.2', path: '/', interface: 'org.freedesktop.DBus', member: 'NameOwnerChanged' };

describe('path labels', () => {
  for (const [text, label] of [
    ['k3s-node.service', 'k3s_2dnode_2eservice'],
    ['4', '_34'],
    ['12', '_312'],
    ['getty@tty1.service', 'getty_40tty1_2eservice'],
    ['ä', '_c3_a4'],
    ['', '_'],
  ] as const) {
    test(`'${text}' is written as ${label}`, () => {
      assert.equal(pathLabel(text), label);
    });
  }
});

describe('match rules', () => {
  test('name each part in its turn', () => {
    assert.equal(
      signalMatch({ sender: 'a.b', path: '/c', member: 'D' }),
      "type='signal',sender='a.b',path='/c',member='D'",
    );
    assert.match(ownerMatch('net.example'), /member='NameOwnerChanged',arg0='net\.example'$/);
  });
});

describe('signals about names and properties', () => {
  test('an owner that went is the empty string, another name is none of ours', () => {
    assert.equal(newOwnerOf({ ...signal, body: ['a.b', ':1.4', ''] }, 'a.b'), '');
    assert.equal(newOwnerOf({ ...signal, body: ['a.b', '', ':1.5'] }, 'a.b'), ':1.5');
    assert.equal(newOwnerOf({ ...signal, body: ['a.c', '', ':1.5'] }, 'a.b'), undefined);
    assert.equal(newOwnerOf({ ...signal, body: [] }, 'a.b'), undefined);
  });

  test('changed and invalidated properties are listed together', () => {
    const change = {
      ...signal,
      interface: 'org.freedesktop.DBus.Properties',
      member: 'PropertiesChanged',
      body: ['a.b', { One: { signature: 's', value: '' } }, ['Two']],
    };
    assert.deepEqual(changedProperties(change), { of: 'a.b', names: ['One', 'Two'] });
    assert.equal(changedProperties({ ...change, body: ['a.b'] }), undefined);
    assert.equal(changedProperties({ ...change, member: 'Other' }), undefined);
  });
});

describe('guards', () => {
  test('let the right shape through and name who gave the wrong one', () => {
    assert.equal(unpack({ signature: 's', value: 'x' }, 'it'), 'x');
    assert.deepEqual(asStructs([[1], [2]], 'it'), [[1], [2]]);
    assert.throws(() => unpack('x', 'it'), { code: 'dbus-shape', message: /^it answered/ });
    assert.throws(() => asStructs([1], 'it'), { code: 'dbus-shape' });
    assert.throws(() => asBytes([1], 'it'), { code: 'dbus-shape' });
  });
});
