/** What a fleet that follows a Service does to the API when an outage is over, in virtual time. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { followService } from '../../../src/systems/cluster/service-follow.ts';
import { SystemError } from '../../../src/systems/error.ts';
import { seeded } from '../../support/random.ts';

const nodes = 1_000;
const answer = JSON.stringify({ metadata: { resourceVersion: '1' }, items: [] });
const [cutMs, backMs, endMs] = [100_000, 700_000, 2_000_000];

/** Runs what is due, one time after the other; a promise's reactions come before the next. */
class Timeline {
  nowMs = 0;
  readonly #due = new Map<number, (() => void)[]>();

  at(ms: number, then: () => void): void {
    this.#due.set(ms, [...(this.#due.get(ms) ?? []), then]);
  }

  async runTo(ms: number): Promise<void> {
    while (this.#due.size > 0) {
      const next = Math.min(...this.#due.keys());
      if (next > ms) break;
      this.nowMs = next;
      const reactions = this.#due.get(next) ?? [];
      this.#due.delete(next);
      for (const then of reactions) then();
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    this.nowMs = ms;
  }
}

describe('a fleet of 1,000 nodes that follow a Service', () => {
  test('asks calmly, and in no storm when the API is back', async () => {
    const time = new Timeline();
    const random = seeded(7);
    const ending = new AbortController();
    /** Ends the watches that are open. */
    let cuts: ((error: Error) => void)[] = [];
    const asked: number[] = [];
    let knowing = 0;
    const isAway = () => time.nowMs >= cutMs && time.nowMs < backMs;
    // Whole tenths of a second: more would only make it slow.
    const later = (ms: number) => Math.ceil((time.nowMs + ms) / 100) * 100;
    const away = () => new SystemError('cluster-away', 'refused');
    const follow = () => {
      let knows = false;
      const know = (next: boolean) => {
        knowing += Number(next) - Number(knows);
        knows = next;
      };
      return followService({
        api: {
          async get() {
            asked.push(time.nowMs);
            if (isAway()) throw away();
            return answer;
          },
          watch(path) {
            asked.push(time.nowMs);
            const seconds = Number(/timeoutSeconds=(\d+)/.exec(path)?.[1]);
            return new Promise((resolve, reject) => {
              cuts.push(reject);
              time.at(later(seconds * 1_000), resolve);
            });
          },
        },
        service: 'kube-system/traefik',
        delayMs: random.between(0, 5_000),
        now: () => time.nowMs,
        random: () => random.between(0, 999) / 1_000,
        pause: (ms) => new Promise((resolve) => time.at(later(ms), resolve)),
        signal: ending.signal,
        told: () => {
          know(true);
          return false;
        },
        confirmed: () => undefined,
        failed: () => know(false),
        cut: () => undefined,
      });
    };
    const running = Array.from({ length: nodes }, follow);
    time.at(cutMs, () => {
      for (const cut of cuts) cut(away());
      cuts = [];
    });
    const between = (from: number, to: number) => asked.filter((ms) => ms >= from && ms < to).length;
    const busiestSecond = (from: number, to: number) =>
      Math.max(
        ...Array.from({ length: (to - from) / 1_000 }, (_, index) =>
          between(from + index * 1_000, from + (index + 1) * 1_000),
        ),
      );

    await time.runTo(backMs - 1);
    assert.equal(knowing, 0);
    const rate = between(backMs - 120_000, backMs) / 120;
    assert.ok(rate > 15 && rate < 30, `${rate} questions a second during the outage`);
    await time.runTo(backMs + 61_000);
    assert.equal(knowing, nodes, 'all know within a minute');
    const storm = busiestSecond(backMs, backMs + 61_000);
    assert.ok(storm < 100, `${storm} questions within a second: a list and a watch of each node`);
    await time.runTo(endMs);
    const calm = between(endMs - 600_000, endMs) / 600;
    assert.ok(
      calm > 3 && calm < 6,
      `${calm} questions a second in calm times: a watch in four minutes of each node`,
    );
    ending.abort();
    for (const cut of cuts) cut(away());
    await time.runTo(endMs + 600_000);
    await Promise.all(running);
  });
});
