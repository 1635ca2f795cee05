/** The watch over what lies beyond the link: when it asks, what it believes, and whom it wakes. */
import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { afterEach, describe, test } from 'node:test';
import { createHomeProbe, type HomeWatch, roundDelayMs } from '#src/systems/home/home-probe.ts';
import type { ProbeAim } from '#src/systems/home/types.ts';
import {
  answerWith,
  type BadHttpServer,
  type Behaviour,
  startBadHttpServer,
} from '../../support/bad-http-server.ts';
import { identity } from '../../support/certificates.ts';

const bounded = { timeout: 10_000 };
const pong: Behaviour = answerWith(200, 'pong');
const server = identity('k3s', undefined, 'IP:127.0.0.1');

describe('the watch over home', () => {
  let home: BadHttpServer;
  let dns: Socket | undefined;
  let probe: HomeWatch;
  const woken: string[] = [];
  let waiting: (() => void) | undefined;

  afterEach(async () => {
    await probe.close();
    await home.close();
    dns?.close();
    dns = undefined;
    woken.length = 0;
  });

  /** Starts it towards a server, and towards a DNS server where `answer` says what that does with a question. */
  async function watch(behaviour: Behaviour, answer?: (question: Buffer) => Buffer | undefined) {
    home = await startBadHttpServer(behaviour, server);
    let dnsPort = 9;
    if (answer !== undefined) {
      const socket = createSocket('udp4');
      await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
      socket.on('message', (question, from) => {
        const told = answer(question);
        if (told !== undefined) socket.send(told, from.port, from.address);
      });
      dnsPort = socket.address().port;
      dns = socket;
    }
    probe = createHomeProbe({
      server: home.url,
      tokenPath: undefined,
      deadlineMs: 300,
      calmMs: 60,
      eagerMs: 20,
      dnsPort,
      now: () => Math.round(performance.now()),
      random: () => 0.5,
      wake: (reason) => {
        woken.push(reason);
        waiting?.();
      },
      log: (_level, message) => assert.fail(message),
    });
    probe.start();
  }
  const aim = (pace: ProbeAim['pace'], path = '7 10.45.0.7/24') =>
    probe.aim({ pace, path, dnsServers: dns === undefined ? [] : ['127.0.0.1'], firstWithinMs: 0 });
  /** Resolves after the next wake-up; the test's own limit bounds it. */
  const nextWake = async () => {
    const before = woken.length;
    while (woken.length === before)
      await new Promise<void>((resolve) => {
        waiting = resolve;
      });
  };
  const rounds = async (count: number) => {
    const before = home.seen.length;
    while (home.seen.length < before + count) await new Promise((resolve) => setTimeout(resolve, 5));
  };
  const answering = (question: Buffer) => {
    const answer = Buffer.from(question);
    answer.writeUInt8(0x80, 2);
    return answer;
  };

  test('asks nobody without a link, and forgets what it knew when the link goes', bounded, async () => {
    await watch(pong);
    aim('off');
    await new Promise((resolve) => setTimeout(resolve, 80));
    assert.deepEqual(home.seen, []);
    aim('eager');
    await nextWake();
    assert.equal(probe.read().server.kind, 'reachable');
    aim('off');
    assert.deepEqual(probe.read(), { server: { kind: 'unprobed' }, dns: { kind: 'unasked' } });
  });

  test('wakes when the kind changes, and not for each answer', bounded, async () => {
    await watch(pong);
    aim('eager');
    await nextWake();
    await rounds(4);
    assert.equal(woken.length, 1);
    home.behave(answerWith(503, ''));
    await nextWake();
    const { server: lost } = probe.read();
    assert.ok(lost.kind === 'unreachable' && lost.stage === 'http' && lost.heard);
    await rounds(3);
    const later = probe.read().server;
    assert.ok(later.kind === 'unreachable' && later.sinceMs === lost.sinceMs);
    assert.equal(woken.length, 2);
  });

  test('believes a loss only when it is asked again', bounded, async () => {
    await watch(pong);
    aim('calm');
    await nextWake();
    let asked = 0;
    home.behave((request, response, socket) =>
      (asked++ === 0 ? answerWith(503, '') : pong)(request, response, socket),
    );
    await rounds(3);
    assert.ok(asked >= 2, 'it has lost an answer');
    assert.equal(probe.read().server.kind, 'reachable');
    assert.equal(woken.length, 1);
  });

  test('tells nothing of a round that began on another link', bounded, async () => {
    await watch(() => undefined);
    aim('eager', '7 a');
    await rounds(1);
    home.behave(pong);
    aim('eager', '8 a');
    await nextWake();
    assert.deepEqual(
      woken.map((reason) => reason.includes('reachable,')),
      [true],
    );
    assert.equal(probe.read().server.kind, 'reachable');
  });

  test('knows whether the DNS of home answers, whatever it answers', bounded, async () => {
    let isSilent = false;
    const seen: Buffer[] = [];
    await watch(pong, (question) => {
      seen.push(question);
      return isSilent ? undefined : answering(question);
    });
    aim('eager');
    await nextWake();
    assert.deepEqual(probe.read().dns, { kind: 'answers' });
    // One question for the root, of class IN and type NS, not to be passed on.
    assert.deepEqual([...(seen[0] ?? [])].slice(2), [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1]);
    isSilent = true;
    await nextWake();
    assert.equal(probe.read().dns.kind, 'silent');
    assert.equal(probe.read().server.kind, 'reachable');
  });

  test(
    'takes no answer to another question for one, and hears of a port that nobody listens on',
    bounded,
    async () => {
      await watch(pong, (question) => {
        const foreign = answering(question);
        foreign.writeUInt16BE((question.readUInt16BE(0) + 1) % 0x10000, 0);
        return foreign;
      });
      aim('eager');
      await nextWake();
      assert.equal(probe.read().dns.kind, 'silent');
      const port = dns?.address().port;
      dns?.removeAllListeners('message');
      await new Promise<void>((resolve) => dns?.close(resolve));
      dns = undefined;
      assert.ok(port !== undefined);
      probe.aim({ pace: 'eager', path: 'another', dnsServers: ['127.0.0.1'], firstWithinMs: 0 });
      await nextWake();
      assert.equal(probe.read().dns.kind, 'refuses');
    },
  );

  test('ends at once, also in the middle of a question', bounded, async () => {
    await watch(() => undefined);
    aim('eager');
    await rounds(1);
    const startedMs = performance.now();
    await probe.close();
    assert.ok(performance.now() - startedMs < 200);
  });
});

describe('the pace', () => {
  const limits = { calmMs: 60_000, eagerMs: 3_000 };

  test('is even while all is fine', () => {
    assert.deepEqual(
      [0, 1, 100].map((doubts) => roundDelayMs('calm', doubts, limits)),
      [60_000, 60_000, 60_000],
    );
  });

  test('is quick at first in doubt, and then slows down to two thirds of the calm one', () => {
    assert.deepEqual(
      [0, 4, 5, 8, 12, 1_000].map((doubts) => roundDelayMs('eager', doubts, limits)),
      [3_000, 3_000, 4_500, 15_187.5, 40_000, 40_000],
    );
  });
});
