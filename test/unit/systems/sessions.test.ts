/** The log of sessions on a real file system: read, emptied, and never counted twice; `ss` is played by the test. */
import assert from 'node:assert/strict';
import {
  appendFileSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { renderNginxConf } from '#src/agent/render/nginx-conf.ts';
import { probeSource } from '#src/agent/render/nginx-probe.ts';
import type { IngressConfig } from '#src/config/schema.ts';
import { ownAddress } from '#src/systems/nginx/open-sessions.ts';
import { createSessionCounts, type SessionsOptions } from '#src/systems/nginx/sessions.ts';
import { aHost } from '../../support/world.ts';

const bounded = { timeout: 10_000 };

let folder = '';
let warnings: string[] = [];
let nowMs = 0;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mooring-sessions-'));
  [warnings, nowMs] = [[], 0];
  writeFileSync(at('sessions.log'), '');
});
afterEach(() => rmSync(folder, { recursive: true }));
const at = (name: string) => join(folder, name);

function entry(change: Partial<IngressConfig> = {}): IngressConfig {
  return {
    name: 'web',
    listen: 443,
    protocol: 'tcp',
    addresses: ['all'],
    upstreams: ['127.0.0.1:30484'],
    balance: 'auto',
    connectTimeout: 5_000,
    allow: [],
    deny: [],
    proxyProtocol: 'none',
    ...change,
  };
}

/** Puts a config in place as mooring does. */
function configure(...entries: readonly IngressConfig[]): void {
  writeFileSync(at('next.conf'), renderNginxConf(entries, aHost).text);
  renameSync(at('next.conf'), at('nginx.conf'));
}

/** What `ss` says from now on: a shell's answer to its arguments. */
function socketsAre(script: string): void {
  writeFileSync(at('ss'), script);
}

/** A run of mooring. */
function counts(change: Partial<SessionsOptions> = {}) {
  return createSessionCounts({
    log: (_, message) => warnings.push(message),
    now: () => nowMs,
    logPath: at('sessions.log'),
    configPath: at('nginx.conf'),
    keptPath: at('kept.json'),
    ss: ['sh', at('ss')],
    socketsDeadlineMs: 5_000,
    ...change,
  });
}

const line = 'web/tcp/200/78/145/127.0.0.1:30484\n';
const write = (text: string) => appendFileSync(at('sessions.log'), text);
const sizeNow = () => statSync(at('sessions.log')).size;

describe('the log of sessions', () => {
  beforeEach(() => {
    configure(entry());
    socketsAre('exit 0');
  });

  test('is counted and emptied, and goes on', bounded, async () => {
    const run = counts();
    write(line.repeat(3));
    const [first] = await run.read();
    assert.deepEqual(
      [first?.sessions.ok, first?.receivedBytes, first?.sentBytes, first?.open],
      [3, 234, 435, 0],
    );
    assert.equal(sizeNow(), 0);
    write(line);
    const [second] = await run.read();
    assert.deepEqual([second?.sessions.ok, second?.connections], [4, 4]);
    assert.deepEqual([run.discardedLines, warnings], [0, []]);
  });

  test('waits for a mooring that was away, and is not counted again by the next one', bounded, async () => {
    const before = counts();
    write(line.repeat(3));
    await before.read();
    write(line.repeat(2));
    const after = counts();
    assert.equal((await after.read())[0]?.sessions.ok, 2);
    assert.equal((await counts().read())[0]?.sessions.ok, 0);
  });

  test('of many megabytes is counted whole', bounded, async () => {
    const run = counts();
    const number = 200_000;
    write(line.repeat(number));
    assert.ok(sizeNow() > 6_000_000);
    const [web] = await run.read();
    assert.deepEqual([web?.sessions.ok, web?.receivedBytes, run.discardedLines], [number, 78 * number, 0]);
    assert.equal(sizeNow(), 0);
  });

  test('that was full loses the line that was cut, and no other', bounded, async () => {
    const run = counts();
    write(`${line}web/tcp/200/7`);
    assert.equal((await run.read())[0]?.sessions.ok, 1);
    write(line);
    assert.equal((await run.read())[0]?.sessions.ok, 2);
    assert.equal(run.discardedLines, 1);
  });

  test('of garbage without an end is emptied, whatever its size', bounded, async () => {
    const run = counts();
    write('x'.repeat(3_000_000));
    write(`\n${line}`);
    assert.equal((await run.read())[0]?.sessions.ok, 1);
    assert.equal(sizeNow(), 0);
    assert.ok(run.discardedLines > 0);
  });

  test('is shortened while nobody asks', bounded, async () => {
    const run = counts({ lookEveryMs: 10 });
    write(line.repeat(50_000));
    run.start();
    while (sizeNow() > 0) await new Promise((resolve) => setTimeout(resolve, 10));
    await run.close();
    assert.equal(run.newest[0]?.sessions.ok, 50_000);
  });

  test('that is not there counts nothing and is no trouble', bounded, async () => {
    rmSync(at('sessions.log'));
    const [web] = await counts().read();
    assert.deepEqual([web?.sessions.ok, web?.open, warnings], [0, 0, []]);
  });

  test('that cannot be written is told once and counted by nobody twice', bounded, async () => {
    rmSync(at('sessions.log'));
    const run = counts({ logPath: folder });
    await run.read();
    await run.read();
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? '', /sessions are not counted/);
  });

  test('is left alone while no listener is configured, and counted once one is', bounded, async () => {
    rmSync(at('nginx.conf'));
    const run = counts();
    write(line);
    assert.deepEqual(await run.read(), []);
    assert.equal(sizeNow(), line.length);
    configure(entry());
    assert.equal((await run.read())[0]?.sessions.ok, 1);
  });

  test(
    'tells of a listener that is gone from the config for as long as its connections last',
    bounded,
    async () => {
      const run = counts();
      await run.read();
      configure(entry({ name: 'other', listen: 80 }));
      write(`${line}other/tcp/200/1/1/127.0.0.1:30484\n`);
      const figures = await run.read();
      assert.deepEqual(
        figures.map(({ name, sessions, open }) => [name, sessions.ok, open]),
        [
          ['web', 1, undefined],
          ['other', 1, 0],
        ],
      );
      assert.equal(run.discardedLines, 0);
    },
  );
});

describe('open connections', () => {
  const three = [
    entry(),
    entry({ name: 'http', listen: 80 }),
    entry({ name: 'quic', protocol: 'udp', upstreams: ['127.0.0.1:30485', '[fd00::1]:30485'] }),
  ];
  const tcp = [
    `127.0.0.1:443 ${probeSource}:4`,

    '10.0.0.2:443 203.0.113.1:1',
    '[2001:db8::2]:443 [2001:db8::9]:2',
    '10.0.0.2:80 203.0.113.1:3',
  ];
  const udp = ['127.0.0.1:4000 127.0.0.1:30485', '[::1]:4001 [fd00::1]:30485', '10.0.0.2:4002 192.0.2.1:53'];
  const answers = `case "$*" in
*-t*) cat <<'END'
${tcp.map((ends) => `ESTAB 0 0 ${ends}`).join('\n')}
END
;;
*) cat <<'END'
${udp.map((ends) => `0 0 ${ends}`).join('\n')}
END
esac
`;
  const openOf = async (run: ReturnType<typeof counts>) =>
    (await run.read()).map(({ name, open }) => [name, open]);

  test('are those to the ports of TCP, and those to the servers of UDP', bounded, async () => {
    configure(...three);
    socketsAre(answers);
    assert.deepEqual(await openOf(counts()), [
      ['web', 2],
      ['http', 1],
      ['quic', 2],
    ]);
  });

  test('of mooring itself are known by the address that nginx knows them by', () => {
    assert.equal(ownAddress, probeSource);
  });

  test('are asked for with the ports alone', bounded, async () => {
    configure(...three);
    socketsAre(`echo "$*" >> ${at('asked')}`);
    await counts().read();
    assert.deepEqual(readFileSync(at('asked'), 'utf8').trim().split('\n').sort(), [
      '-H -n -t state established state close-wait ( sport = :443 or sport = :80 )',
      '-H -n -u state established',
    ]);
  });

  test('cost one question for all who ask within two seconds', bounded, async () => {
    configure(entry());
    socketsAre(`echo asked >> ${at('asked')}`);
    const run = counts();
    await Promise.all([run.read(), run.read(), run.read()]);
    nowMs += 1_999;
    await run.read();
    assert.equal(readFileSync(at('asked'), 'utf8'), 'asked\n');
    nowMs += 1;
    await run.read();
    assert.equal(readFileSync(at('asked'), 'utf8'), 'asked\nasked\n');
  });

  test('of two listeners for UDP with one server are known of neither', bounded, async () => {
    configure(
      ...three,
      entry({ name: 'quic-too', listen: 444, protocol: 'udp', upstreams: ['127.0.0.1:30485'] }),
    );
    socketsAre(answers);
    const found = Object.fromEntries(await openOf(counts()));
    assert.deepEqual([found['quic'], found['quic-too'], found['web']], [undefined, undefined, 2]);
  });

  test('of a listener that moved to another port are still those of its former one', bounded, async () => {
    configure(entry());
    socketsAre(answers);
    const run = counts();
    await run.read();
    configure(entry({ listen: 444 }));
    nowMs += 60_000;
    assert.deepEqual(await openOf(run), [['web', 2]]);
  });

  for (const [how, script] of [
    ['fails', 'exit 1'],
    ['is not there', undefined],
    ['hangs', 'exec sleep 30'],
    ['never ends a line', 'head -c 100000 /dev/zero'],
  ] as const) {
    test(`are unknown where ss ${how}, which stops nothing else and is told once`, bounded, async () => {
      configure(entry());
      if (script !== undefined) socketsAre(script);
      write(line);
      const run = counts({
        socketsDeadlineMs: 300,
        ...(script === undefined ? { ss: [at('none')] } : {}),
      });
      for (let look = 0; look < 3; look += 1) {
        const [web] = await run.read();
        assert.deepEqual([web?.open, web?.sessions.ok, web?.connections], [undefined, 1, 1]);
        nowMs += 60_000;
      }
      assert.equal(warnings.length, 1);
    });
  }

  test(
    'that were counted are not counted again by the next run, whatever happened to this one',
    bounded,
    async () => {
      configure(entry());
      socketsAre(answers);
      const [before] = await counts().read();
      assert.equal(before?.connections, 2);
      write(line);
      socketsAre("echo 'ESTAB 0 0 10.0.0.2:443 203.0.113.1:1'");
      const [after] = await counts().read();
      assert.deepEqual([after?.connections, after?.open, after?.sessions.ok], [0, 1, 1]);
    },
  );

  for (const kept of ['', '{', 'null', '[]', '{"web/tcp": -1}', '{"web/tcp": "x"}', '{"web/tcp": 1e300}']) {
    test(`count from nothing where what was kept is ${JSON.stringify(kept)}`, bounded, async () => {
      writeFileSync(at('kept.json'), kept);
      configure(entry());
      socketsAre(answers);
      assert.equal((await counts().read())[0]?.connections, 2);
    });
  }
});
