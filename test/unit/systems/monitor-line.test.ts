/** The lines of `ip -o monitor link address route`, as iproute2 6.1 printed them. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createLineCutter, parseMonitorLine } from '../../../src/systems/netlink/monitor-line.ts';

type Expected = [deleted: boolean, about: string, ifindex: number | undefined, names: string[]];

const lines: readonly (readonly [line: string, ...Expected])[] = [
  [
    '2: zt5z3ovhj4: <BROADCAST,MULTICAST> mtu 1500 qdisc noop state DOWN group default \\    link/ether fa:61:7c:80:84:53 brd ff:ff:ff:ff:ff:ff',
    false,
    'link',
    2,
    ['zt5z3ovhj4'],
  ],
  [
    '2: zt5z3ovhj4: <NO-CARRIER,BROADCAST,MULTICAST,UP> mtu 2800 qdisc pfifo_fast state DOWN group default \\    link/ether fa:61:7c:80:84:53 brd ff:ff:ff:ff:ff:ff\\    altname averylongaltnameforit',
    false,
    'link',
    2,
    ['zt5z3ovhj4'],
  ],
  [
    'Deleted 2: zt5z3ovhj4: <BROADCAST,MULTICAST> mtu 2800 qdisc noop state DOWN group default \\    link/ether fa:61:7c:80:84:53 brd ff:ff:ff:ff:ff:ff',
    true,
    'link',
    2,
    ['zt5z3ovhj4'],
  ],
  [
    '5: veth0@veth1: <NO-CARRIER,BROADCAST,MULTICAST,UP,M-DOWN> mtu 1500 qdisc noqueue master br0 state LOWERLAYERDOWN group default \\    link/ether ca:5d:4a:6c:97:a0 brd ff:ff:ff:ff:ff:ff',
    false,
    'link',
    5,
    ['veth0'],
  ],
  [
    '4: veth1@NONE: <BROADCAST,MULTICAST> mtu 1500 qdisc noop state DOWN group default \\    link/ether f6:75:f0:6c:17:a1 brd ff:ff:ff:ff:ff:ff',
    false,
    'link',
    4,
    ['veth1'],
  ],
  [
    '3: flannel.1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 2750 qdisc noqueue state UNKNOWN group default \\    link/ether da:4b:e4:67:90:7c brd ff:ff:ff:ff:ff:ff',
    false,
    'link',
    3,
    ['flannel.1'],
  ],
  [
    '2: zt5z3ovhj4    inet 10.99.17.89/24 scope global zt5z3ovhj4\\       valid_lft forever preferred_lft forever',
    false,
    'address',
    2,
    ['zt5z3ovhj4'],
  ],
  [
    'Deleted 2: zt5z3ovhj4    inet6 fd00::1/64 scope global tentative \\       valid_lft forever preferred_lft forever',
    true,
    'address',
    2,
    ['zt5z3ovhj4'],
  ],
  [
    '10.99.17.0/24 dev zt5z3ovhj4 proto kernel scope link src 10.99.17.89 linkdown ',
    false,
    'route',
    undefined,
    ['zt5z3ovhj4'],
  ],
  ['default via 10.99.17.1 dev zt5z3ovhj4 linkdown ', false, 'route', undefined, ['zt5z3ovhj4']],
  ['local ::1 dev lo table local proto kernel metric 0 pref medium', false, 'route', undefined, ['lo']],
  [
    'Deleted local 10.99.17.89 dev zt5z3ovhj4 table local proto kernel scope host src 10.99.17.89 ',
    true,
    'route',
    undefined,
    ['zt5z3ovhj4'],
  ],
  [
    '10.60.0.0/16 linkdown \\\tnexthop via 10.99.17.1 dev zt5z3ovhj4 weight 1 linkdown \\\tnexthop via 10.1.0.1 dev eth0 weight 1 linkdown ',
    false,
    'route',
    undefined,
    ['zt5z3ovhj4', 'eth0'],
  ],
  ['unreachable 10.50.0.0/16 ', false, 'route', undefined, []],
  ['', false, 'route', undefined, []],
];

describe('a line of ip monitor', () => {
  for (const [line, deleted, about, ifindex, names] of lines) {
    test(`${JSON.stringify(line.slice(0, 60))} is about a ${about} of ${names.join(' and ') || 'nothing'}`, () => {
      assert.deepEqual(parseMonitorLine(line), { deleted, about, ifindex, names });
    });
  }
});

describe('cutting a stream into lines', () => {
  const cutAll = (chunks: readonly string[], maxLength = 10) => {
    const got: (string | undefined)[] = [];
    const cut = createLineCutter(maxLength, (line) => got.push(line));
    for (const chunk of chunks) cut(chunk);
    return got;
  };

  test('does not depend on where the chunks end', () => {
    const stream = 'one\ntwo\n\nthree\nrest';
    for (let at = 0; at <= stream.length; at++) {
      assert.deepEqual(cutAll([stream.slice(0, at), stream.slice(at)]), ['one', 'two', '', 'three']);
    }
    assert.deepEqual(cutAll([...stream]), ['one', 'two', '', 'three']);
  });

  test('tells of an overlong line once, and goes on after it', () => {
    const stream = `one\n${'x'.repeat(35)}\ntwo\n`;
    assert.deepEqual(cutAll([stream]), ['one', undefined, 'two']);
    assert.deepEqual(cutAll([...stream]), ['one', undefined, 'two']);
    assert.deepEqual(cutAll([stream.slice(0, 17), stream.slice(17)]), ['one', undefined, 'two']);
  });

  test('takes a line of just the largest length', () => {
    assert.deepEqual(cutAll(['0123456789\n']), ['0123456789']);
  });
});
