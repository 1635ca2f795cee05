/** The lines that nginx writes at the end of a session, friendly and hostile. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  countSessions,
  maxLineBytes,
  newTally,
  type SessionTally,
} from '#src/systems/nginx/session-lines.ts';
import { seeded } from '../../support/random.ts';

function counted(text: string | Buffer, upstreams: readonly string[] = []) {
  const tallies = [newTally('web', 'tcp'), newTally('web2', 'tcp'), newTally('web', 'udp')] as const;
  for (const upstream of upstreams) tallies[0].upstreams.add(upstream);
  const bytes = typeof text === 'string' ? Buffer.from(text, 'latin1') : text;
  return { ...countSessions(bytes, tallies), bytes: bytes.length, web: tallies[0], tallies };
}

const shown = ({ ended, receivedBytes, sentBytes, byStatus, failures }: SessionTally) => ({
  ended,
  receivedBytes,
  sentBytes,
  byStatus: Object.fromEntries(byStatus),
  failures: Object.fromEntries(failures),
});
const nothing = { ended: 0, receivedBytes: 0, sentBytes: 0, byStatus: {}, failures: {} };

describe('the lines of the log of sessions', () => {
  test('are added up by listener and protocol', () => {
    const { tallies, discarded } = counted(
      'web/tcp/200/78/145/127.0.0.1:9001\nweb2/tcp/200/1/2/127.0.0.1:9002\nweb/udp/200/10/20/[fd00::1]:9001\nweb/tcp/403/0/0/\nweb/tcp/503/5/0/\n',
    );
    assert.deepEqual(tallies.map(shown), [
      { ended: 3, receivedBytes: 83, sentBytes: 145, byStatus: { 200: 1, 403: 1, 503: 1 }, failures: {} },
      { ...nothing, ended: 1, receivedBytes: 1, sentBytes: 2, byStatus: { 200: 1 } },
      { ...nothing, ended: 1, receivedBytes: 10, sentBytes: 20, byStatus: { 200: 1 } },
    ]);
    assert.equal(discarded, 0);
  });

  test('tell which servers failed: all of a session that failed, all but the last of one that did not', () => {
    const servers = ['10.0.0.1:1', '10.0.0.2:1', '[fd00::1]:1'];
    const { web } = counted(
      'web/tcp/502/0/0/10.0.0.1:1, 10.0.0.2:1\nweb/tcp/200/9/9/10.0.0.1:1, [fd00::1]:1, 10.0.0.2:1\nweb/tcp/502/0/0/10.0.0.2:1\n',
      servers,
    );
    assert.deepEqual(shown(web).failures, { '10.0.0.1:1': 2, '10.0.0.2:1': 2, '[fd00::1]:1': 1 });
  });

  test('with every server taken out blame none', () => {
    assert.deepEqual(shown(counted('web/tcp/502/0/0/web\n').web), {
      ...nothing,
      ended: 1,
      byStatus: { 502: 1 },
    });
  });

  test('of mooring’s own questions through the door count for nothing', () => {
    const socket = 'unix:/run/mooring-ingress/generation.sock';
    const { web, discarded } = counted(
      `web/tcp/200/0/16/${socket}\nweb/tcp/502/0/0/${socket}\nweb/tcp/502/0/0/u\n`,
    );
    assert.deepEqual([web.ended, discarded], [1, 0]);
  });

  test('give no label to a server that the config does not have', () => {
    const lines = Array.from({ length: 1000 }, (_, i) => `web/tcp/502/0/0/10.0.${i >> 8}.${i & 255}:1\n`);
    assert.deepEqual(shown(counted(lines.join('')).web).failures, { other: 1000 });
  });

  for (const [name, line] of [
    ['of an unknown listener', 'other/tcp/200/1/1/-'],
    ['of a longer name', 'webs/tcp/200/1/1/-'],
    ['of another protocol', 'web2/udp/200/1/1/-'],
    ['empty', ''],
    ['with a status that nginx does not have', 'web/tcp/999/1/1/-'],
    ['without bytes', 'web/tcp/200'],
    ['without a server', 'web/tcp/200/1/1'],
    ['with a negative number', 'web/tcp/200/-1/1/-'],
    ['with a fraction', 'web/tcp/200/1.5/1/-'],
    ['with a number that is too large to be one', 'web/tcp/200/9999999999999999/1/-'],
    ['with a space', 'web/tcp/200/ 1/1/-'],
    ['with control characters', 'web/tcp/200/1/1/127.0.0.1:1\u0000'],
    ['with an escape sequence', 'web/tcp/200/1/1/\u001b[2J'],
    ['with a carriage return', 'web/tcp/200/1/1/-\r'],
    ['not of ASCII', 'web/tcp/200/1/1/\u00ff'],
    ['too long', `web/tcp/502/1/1/${'10.0.0.1:1, '.repeat(1000)}`],
  ] as const) {
    test(`${name} are discarded, and cost their neighbours nothing`, () => {
      const { web, discarded } = counted(`web/tcp/200/1/2/-\n${line}\nweb/tcp/200/1/2/-\n`);
      assert.deepEqual(shown(web), {
        ...nothing,
        ended: 2,
        receivedBytes: 2,
        sentBytes: 4,
        byStatus: { 200: 2 },
      });
      assert.equal(discarded, 1);
    });
  }

  test('count only once they are whole', () => {
    const whole = 'web/tcp/200/78/145/127.0.0.1:9001\n';
    for (let cut = 0; cut < whole.length; cut += 1) {
      const { web, usedBytes, discarded } = counted(whole + whole.slice(0, cut));
      assert.deepEqual([web.ended, usedBytes, discarded], [1, whole.length, 0], `cut at ${cut}`);
    }
  });

  test('of chance alone are discarded, each counted once', () => {
    const random = seeded(7);
    const bytes = Buffer.from(Array.from({ length: 200_000 }, () => random.between(0, 255)));
    const { tallies, usedBytes, discarded } = counted(bytes);
    assert.deepEqual(tallies.map(shown), [nothing, nothing, nothing]);
    assert.equal(discarded, bytes.filter((byte) => byte === 10).length);
    assert.ok(bytes.length - usedBytes < maxLineBytes);
  });
});
