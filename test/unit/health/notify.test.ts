import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, describe, test } from 'node:test';
import { createNotifier } from '#src/health/notify.ts';

const folder = mkdtempSync(join(tmpdir(), 'mooring-notify-'));
const sentFile = join(folder, 'sent');
const failFile = join(folder, 'fail');
const pathBefore = process.env['PATH'];
const environment = { NOTIFY_SOCKET: '/run/systemd/notify' };
let warnings: string[] = [];
const notifierIn = (env: NodeJS.ProcessEnv) => createNotifier(env, (message) => warnings.push(message));

/** What was sent so far, a message a line, its arguments between bars. */
function sent(): readonly string[] {
  return readFileSync(sentFile, 'utf8').split('\n').slice(0, -1);
}

/** A stand-in that notes its arguments, and fails while the file beside it says so. */
writeFileSync(
  join(folder, 'systemd-notify'),
  `#!/bin/sh\nprintf '%s|' "$@" >> ${sentFile}\necho >> ${sentFile}\n[ ! -e ${failFile} ]\n`,
);
chmodSync(join(folder, 'systemd-notify'), 0o755);

beforeEach(() => {
  process.env['PATH'] = `${folder}:${pathBefore}`;
  writeFileSync(sentFile, '');
  rmSync(failFile, { force: true });
  warnings = [];
});
after(() => {
  process.env['PATH'] = pathBefore;
  rmSync(folder, { recursive: true, force: true });
});

describe('the notifier', () => {
  test('says READY with a sentence for this process', async () => {
    await notifierIn(environment).ready('Starting');
    assert.deepEqual(sent(), [`--ready|--pid=${process.pid}|--status=Starting|`]);
  });

  test('sends a sentence once, and again when it changes', async () => {
    const notifier = notifierIn(environment);
    await notifier.ready('a');
    for (const sentence of ['a', 'b', 'b', 'a']) await notifier.status(sentence);
    assert.deepEqual(
      sent().map((line) => /--status=(.*)\|/.exec(line)?.[1]),
      ['a', 'b', 'a'],
    );
  });

  test('sends one line of a sensible length, whatever the sentence holds', async () => {
    await notifierIn(environment).status(`two\nlines\u0007${'x'.repeat(1_000)}`);
    const [line] = sent();
    assert.match(line ?? '', /--status=two lines x{386,400}\|$/);
    assert.equal(sent().length, 1);
  });

  test('says WATCHDOG, RELOADING and STOPPING in words that sd_notify knows', async () => {
    const notifier = notifierIn(environment);
    await notifier.watchdog();
    await notifier.reloading();
    await notifier.stopping();
    const [watchdog, reloading, stopping] = sent();
    assert.equal(watchdog, 'WATCHDOG=1|');
    assert.match(reloading ?? '', /^RELOADING=1\|STATUS=/);
    assert.match(stopping ?? '', /^STOPPING=1\|STATUS=/);
  });

  test('halves the time of the watchdog, and has none where systemd wants none', () => {
    assert.equal(notifierIn({ ...environment, WATCHDOG_USEC: '60000000' }).watchdogIntervalMs, 30_000);
    assert.equal(notifierIn(environment).watchdogIntervalMs, undefined);
    assert.equal(notifierIn({ WATCHDOG_USEC: '60000000' }).watchdogIntervalMs, undefined);
  });

  test('starts nothing where no systemd listens', async () => {
    const notifier = notifierIn({});
    await notifier.ready('a');
    await notifier.status('b');
    await notifier.watchdog();
    assert.deepEqual(sent(), []);
    assert.deepEqual(warnings, []);
  });

  test('survives a missing systemd-notify, and tells it once', async () => {
    process.env['PATH'] = join(folder, 'nothing-here');
    const notifier = notifierIn(environment);
    await notifier.ready('a');
    await notifier.status('b');
    await notifier.watchdog();
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? '', /^systemd could not be notified: /);
  });

  test('sends READY again until it gets through, since systemd would end a daemon that never said it', async () => {
    writeFileSync(failFile, '');
    const notifier = notifierIn(environment);
    await notifier.ready('a');
    await notifier.status('a');
    rmSync(failFile);
    await notifier.status('a');
    await notifier.status('a');
    assert.deepEqual(
      sent().map((line) => line.startsWith('--ready|')),
      [true, true, true],
    );
  });

  test('sends a sentence again that did not get through', async () => {
    const notifier = notifierIn(environment);
    await notifier.ready('a');
    writeFileSync(failFile, '');
    await notifier.status('b');
    rmSync(failFile);
    await notifier.status('b');
    assert.deepEqual(
      sent().map((line) => /--status=(.*)\|/.exec(line)?.[1]),
      ['a', 'b', 'b'],
    );
  });
});
