/** The kernel's own tables of sockets, of real sockets, and tables that are not as they should be. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createDoors } from '../../../src/systems/doors/doors.ts';
import { parseSocketRow } from '../../../src/systems/doors/socket-table.ts';

const bounded = { timeout: 10_000 };
const untold = { wake: () => undefined, log: () => undefined, random: () => 0 };
const untried = { tried: [], servedBy: undefined };

describe('the sockets of this host', () => {
  test('are found with address, port and user, and none that is connected', bounded, async () => {
    const server = createServer((socket) => socket.on('error', () => undefined).resume());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const udp = createSocket('udp6');
    await new Promise<void>((resolve) => udp.bind(0, '::1', resolve));
    const address = server.address();
    assert.ok(address !== null && typeof address === 'object');
    const doors = createDoors(untold);
    doors.aim({
      ...untried,
      holdersOf: [
        { protocol: 'tcp', address: '0.0.0.0', port: address.port },
        { protocol: 'udp', address: '::', port: udp.address().port },
      ],
    });
    const user = userInfo().username;
    assert.deepEqual((await doors.read()).holders, [
      { protocol: 'tcp', address: '127.0.0.1', port: address.port, user, sockets: 1 },
      { protocol: 'udp', address: '::1', port: udp.address().port, user, sockets: 1 },
    ]);
    udp.close();
    await new Promise((resolve) => server.close(resolve));
    assert.deepEqual((await doors.read()).holders, []);
    doors.aim({ ...untried, holdersOf: [] });
    assert.equal((await doors.read()).holders, undefined);
  });
});

describe('a row of the kernel’s table', () => {
  test('is read in the byte order of this machine', () => {
    const v4 =
      '   0: 0100007F:1F92 0200630A:01BB 0A 00000000:00000000 00:00000000 00000000  1000        0 12 1 0 100 0 0 10 0';
    assert.deepEqual(parseSocketRow(v4), {
      local: { address: '127.0.0.1', port: 8082 },
      remote: { address: '10.99.0.2', port: 443 },
      state: '0A',
      uid: 1000,
    });
    const v6 =
      '  12: B80D0120000000000000000001000000:0050 0000000000000000FFFF00000200630A:C001 01 00000000:00000000 00:00000000 00000000     0        0 12';
    const row = parseSocketRow(v6);
    assert.deepEqual(row?.local, { address: '2001:db8::1', port: 80 });
    assert.deepEqual(row?.remote, { address: '10.99.0.2', port: 49_153 });
  });

  for (const line of ['', '  sl  local_address rem_address   st', '   0: 0100007F:1F92', 'x'.repeat(100_000)])
    test(`is not ${JSON.stringify(line.slice(0, 20))}`, () => {
      assert.equal(parseSocketRow(line), undefined);
    });
});

describe('tables that are not as they should be', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mooring-doors-'));
  });
  after(() => rm(folder, { recursive: true }));
  const holders = async () => {
    const doors = createDoors({ ...untold, netFolder: folder, passwdFile: join(folder, 'passwd') });
    doors.aim({ ...untried, holdersOf: [{ protocol: 'tcp', address: '0.0.0.0', port: 80 }] });
    return (await doors.read()).holders;
  };
  const row = (state: string, uid: number) =>
    `   0: 00000000:0050 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000 ${uid}        0 12 1\n`;

  test('tell nothing where they are missing, and do without that of IPv6', bounded, async () => {
    assert.equal(await holders(), undefined);
    await writeFile(join(folder, 'tcp'), `head\n${row('0A', 4_000_000)}`);
    assert.deepEqual(
      (await holders())?.map(({ user }) => user),
      ['user 4000000'],
    );
    await writeFile(join(folder, 'passwd'), 'broken\nweb server:x:4000000:\nweb:x:4000000:1::/:\n');
    assert.deepEqual(
      (await holders())?.map(({ user }) => user),
      ['web'],
    );
  });

  test('are read to the end of what listens, however much follows', bounded, async () => {
    await writeFile(join(folder, 'tcp'), `${row('0A', 0).repeat(3)}${row('01', 7).repeat(50_000)}`);
    assert.deepEqual(
      (await holders())?.map(({ sockets }) => sockets),
      [3],
    );
    const many = Array.from({ length: 5_000 }, (_, uid) => row('0A', uid));
    await writeFile(join(folder, 'tcp'), many.join(''));
    assert.equal((await holders())?.length, 256);
  });
});
