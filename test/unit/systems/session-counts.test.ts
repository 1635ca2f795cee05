/** The figures of a listener from what nginx wrote down and what the kernel shows, at virtual times. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { listenersIn } from '#src/systems/nginx/listeners.ts';
import { endsIn } from '#src/systems/nginx/open-sessions.ts';
import {
  figuresOf,
  newCount,
  settleEnded,
  settleOpen,
  writtenWithinMs,
} from '#src/systems/nginx/session-counts.ts';
import { seeded } from '../../support/random.ts';

/** A listener whose sessions the test opens, ends and looks at. */
function listener(unended = 0) {
  const count = newCount('web', 'tcp', unended);
  return {
    count,
    ends(number: number) {
      count.tally.ended += number;
      count.tally.byStatus.set(200, (count.tally.byStatus.get(200) ?? 0) + number);
      settleEnded(count);
    },
    looksOpen: (open: number | undefined, nowMs = 0) => settleOpen(count, open, nowMs),
    figures: () => figuresOf(count),
  };
}

const sum = (sessions: Readonly<Record<string, number>>) =>
  Object.values(sessions).reduce((total, one) => total + one, 0);

describe("a listener's figures", () => {
  test('count a connection while it is open, and not again when it ends', () => {
    const web = listener();
    web.looksOpen(3);
    assert.deepEqual([web.figures().connections, web.figures().open], [3, 3]);
    web.ends(2);
    web.looksOpen(1);
    assert.deepEqual([web.figures().connections, web.figures().open, web.figures().sessions.ok], [3, 1, 2]);
  });

  test('count connections that came and went between two looks', () => {
    const web = listener();
    web.looksOpen(5);
    web.ends(100);
    web.looksOpen(5);
    assert.equal(web.figures().connections, 105);
  });

  test('go on after a restart with what was counted before', () => {
    const before = listener();
    before.looksOpen(10);
    const after = listener(before.count.unended);
    after.ends(4);
    after.looksOpen(8);
    assert.equal(after.figures().connections, 2);
    assert.equal(before.figures().connections + after.figures().connections, 12);
  });

  test('do not fall while nginx has not written down yet what ended', () => {
    const web = listener();
    web.looksOpen(10, 0);
    web.looksOpen(2, 100);
    assert.deepEqual([web.figures().connections, web.figures().open], [10, 2]);
    web.ends(8);
    web.looksOpen(2, writtenWithinMs * 2);
    assert.equal(web.figures().connections, 10);
    assert.equal(web.figures().sessions.unrecorded, 0);
  });

  test('tell as unrecorded what nobody ever wrote down, once', () => {
    const web = listener();
    web.looksOpen(10, 0);
    web.looksOpen(0, 1_000);
    web.looksOpen(0, 1_000 + writtenWithinMs - 1);
    assert.equal(web.figures().sessions.unrecorded, 0);
    web.looksOpen(0, 1_000 + writtenWithinMs);
    web.looksOpen(0, 1_000 + 3 * writtenWithinMs);
    assert.equal(web.figures().sessions.unrecorded, 10);
    web.looksOpen(3, 60_000);
    assert.deepEqual([web.figures().connections, web.figures().open], [13, 3]);
  });

  test('know no number of open ones where nobody does, and count with the end', () => {
    const web = listener();
    web.looksOpen(undefined);
    web.ends(7);
    assert.deepEqual([web.figures().connections, web.figures().open], [7, undefined]);
  });

  test('never fall and end up right, whatever the order of looks, with lines that come late', () => {
    for (let seed = 0; seed < 200; seed += 1) {
      const random = seeded(seed);
      const web = listener();
      let [accepted, open, unwritten, nowMs] = [0, 0, 0, 0];
      let before = 0;
      for (let step = 0; step < 200; step += 1) {
        nowMs += random.between(0, 900);
        const came = random.between(0, 20);
        const went = random.between(0, open + came);
        accepted += came;
        open += came - went;
        // Within a second, as nginx does.
        web.ends(unwritten);
        unwritten = went;
        if (random.chance(0.3)) web.looksOpen(open, nowMs);
        const { connections } = web.figures();
        assert.ok(connections >= before, `seed ${seed} fell`);
        assert.ok(connections <= accepted, `seed ${seed} counts more than there were`);
        before = connections;
      }
      web.ends(unwritten);
      web.looksOpen(open, nowMs + 1_000);
      const { connections, sessions } = web.figures();
      assert.equal(connections, accepted, `seed ${seed}`);
      assert.equal(sum(sessions) + open, accepted, `seed ${seed}`);
    }
  });
});

describe("a socket's line", () => {
  for (const [line, expected] of [
    ['0      0      10.0.0.1:443 203.0.113.7:34005 ', ['10.0.0.1:443', '203.0.113.7:34005']],
    ['ESTAB 0      0      [fd00::1]:443 [2001:db8::1]:5', ['[fd00::1]:443', '[2001:db8::1]:5']],
    [
      'CLOSE-WAIT 1 0 [::ffff:10.0.0.1]:80 [::ffff:10.0.0.2]:1',
      ['[::ffff:10.0.0.1]:80', '[::ffff:10.0.0.2]:1'],
    ],
    ['', undefined],
    ['Netid State Recv-Q', undefined],
    ['0 0 *:* *:*', undefined],
  ] as const) {
    test(`${JSON.stringify(line)} has ${expected === undefined ? 'no ends' : expected.join(' and ')}`, () => {
      const ends = endsIn(line);
      assert.deepEqual(ends && [ends.local, ends.peer], expected);
    });
  }
});

describe('text that mooring did not write', () => {
  for (const text of [
    '',
    '}',
    'server {',
    'access_log x y;',
    'upstream {\nserver;\n}',
    'listen;\n}\n}',
    '\u0000'.repeat(9),
  ]) {
    test(`${JSON.stringify(text)} has no listeners`, () => assert.deepEqual(listenersIn(text), []));
  }
});
