/** The ingress' files and generation socket; the check unit is played by the test. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { SystemError } from '../../../src/systems/error.ts';
import { readGeneration } from '../../../src/systems/nginx/generation.ts';
import { readMachine } from '../../../src/systems/nginx/machine.ts';
import { createNginx, nginxWords } from '../../../src/systems/nginx/nginx.ts';

const bounded = { timeout: 10_000 };

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mooring-nginx-'));
});
afterEach(() => rm(folder, { recursive: true }));
const at = (name: string) => join(folder, name);

describe('replacing the ingress config', () => {
  const nginx = (check: (unit: string) => Promise<string>) =>
    createNginx({
      systemd: { run: check },
      configPath: at('nginx/nginx.conf'),
      candidatePath: at('nginx/candidate.conf'),
      keptPath: at('nginx/last-served.conf'),
      checkLogPath: at('check.log'),
      generationSocket: at('generation.sock'),
      binaryPath: at('sbin-nginx'),
      streamModulePath: at('stream.so'),
    });

  test('a candidate that passes the check is swapped in', bounded, async () => {
    const checked: string[] = [];
    await nginx(async (unit) => {
      checked.push(unit, await readFile(at('nginx/candidate.conf'), 'utf8'));
      return 'done';
    }).replace('events {}\n');
    assert.deepEqual(checked, ['mooring-ingress-check.service', 'events {}\n']);
    assert.equal(await readFile(at('nginx/nginx.conf'), 'utf8'), 'events {}\n');
    assert.deepEqual(await readdir(at('nginx')), ['nginx.conf']);
  });

  test(
    'a refused candidate leaves the config in place, and nginx’s own words tell why',
    bounded,
    async () => {
      await nginx(async () => 'done').replace('good');
      const refusing = nginx(async () => {
        await writeFile(
          at('check.log'),
          'nginx: [emerg] invalid port in "x:99999" of the "server" directive in /var/lib/mooring/nginx/candidate.conf:7\nnginx: configuration file /var/lib/mooring/nginx/candidate.conf test failed\n',
        );
        return 'failed';
      });
      await assert.rejects(refusing.replace('bad'), (error) => {
        assert.ok(error instanceof SystemError);
        assert.equal(error.code, 'ingress-config-refused');
        assert.match(error.message, /candidate\.conf: \[emerg\] invalid port in "x:99999"/);
        return true;
      });
      assert.equal(await readFile(at('nginx/nginx.conf'), 'utf8'), 'good');
      assert.equal(await readFile(at('nginx/candidate.conf'), 'utf8'), 'bad');
    },
  );

  test('a check that never ran is not explained by an older one’s words', bounded, async () => {
    await writeFile(at('check.log'), 'nginx: [emerg] of yesterday\n');
    await assert.rejects(nginx(async () => 'dependency').replace('x'), (error) => {
      assert.ok(error instanceof SystemError);
      assert.match(error.message, /mooring-ingress-check\.service ended with dependency/);
      return true;
    });
  });

  test('a deadline of the check unit passes through, and the config stays', bounded, async () => {
    await nginx(async () => 'done').replace('good');
    const late = nginx(() => Promise.reject(new SystemError('deadline', 'late')));
    await assert.rejects(late.replace('bad'), { code: 'deadline' });
    assert.equal(await readFile(at('nginx/nginx.conf'), 'utf8'), 'good');
  });

  test('the config in place is not checked again', bounded, async () => {
    await nginx(async () => 'done').replace('good');
    await nginx(() => assert.fail('must not be checked')).replace('good');
  });

  test('what was kept comes back, and tells which generation it is', bounded, async () => {
    const good = '    server {\n        return 0123456789abcdef;\n    }\n';
    const it = nginx(async () => 'done');
    await assert.rejects(
      it.restore(),
      (error) => error instanceof SystemError && error.code === 'ingress-nothing-kept',
    );
    await it.replace(good);
    assert.equal((await it.read()).keptGeneration, undefined);
    await it.keep();
    await it.replace('other');
    assert.equal((await it.read()).keptGeneration, '0123456789abcdef');
    await it.restore();
    assert.equal(await readFile(at('nginx/nginx.conf'), 'utf8'), good);
  });

  test('nginx without its stream module is not installed', bounded, async () => {
    const reader = nginx(async () => 'done');
    const { installed, config, servingGeneration } = await reader.read();
    assert.deepEqual([installed, config, servingGeneration], [false, { kind: 'absent' }, undefined]);
    await writeFile(at('sbin-nginx'), '');
    assert.equal((await reader.read()).installed, false);
    await writeFile(at('stream.so'), '');
    assert.equal((await reader.read()).installed, true);
  });
});

describe('the machine that nginx is sized by', () => {
  test('is this one', () => {
    const { cores, memoryBytes, openFiles } = readMachine();
    assert.equal(cores, Number(execFileSync('nproc', { encoding: 'utf8', env: {} })));
    const total = /^MemTotal: +(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1];
    assert.equal(memoryBytes, Number(total) * 1024);
    const hard = execFileSync('/bin/sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).trim();
    assert.equal(openFiles, Math.min(524_288, hard === 'unlimited' ? 524_288 : Number(hard)));
  });

  test('has no more open files than the unit asks for, nor than its own hard limit', async () => {
    const limits = (hard: string) =>
      `Limit                     Soft Limit           Hard Limit           Units     \nMax open files            1024                 ${hard.padEnd(20)} files     \n`;
    for (const [text, expected] of [
      [limits('20000'), 20_000],
      [limits('1048576'), 524_288],
      [limits('unlimited'), 524_288],
      ['', 524_288],
    ] as const) {
      await writeFile(at('limits'), text);
      assert.equal(readMachine(at('limits')).openFiles, expected);
    }
    const unit = new URL('../../../packaging/systemd/mooring-ingress.service', import.meta.url);
    assert.match(readFileSync(unit, 'utf8'), /^LimitNOFILE=524288$/m);
  });
});

describe('nginx’s words', () => {
  test('are its complaints, each once, without control characters', () => {
    const bind = '2026/11/23 12:00:00 [emerg] 7#7: bind() to 0.0.0.0:80 failed (98: Address already in use)';
    assert.equal(nginxWords(`${bind}\u001b[0m\n${bind}\u001b[0m\nok\n`), `${bind} [0m`);
  });

  test('are shortened, and taken as they are where none is a complaint', () => {
    assert.equal(nginxWords('a\nb\n'), 'a; b');
    assert.equal(nginxWords('x'.repeat(5000)).length, 601);
  });
});

describe('the generation that nginx serves', () => {
  let server: Server;
  const sockets = new Set<Socket>();

  async function serve(onConnection: (socket: Socket) => void): Promise<string> {
    await mkdir(at('run'));
    server = createServer((socket) => {
      sockets.add(socket.on('error', () => undefined));
      onConnection(socket);
    });
    await new Promise<void>((resolve) => server.listen(at('run/g.sock'), resolve));
    return at('run/g.sock');
  }
  async function end(): Promise<void> {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  }

  const answers: readonly (readonly [
    name: string,
    behave: (socket: Socket) => void,
    expected: string | undefined,
  ])[] = [
    ['whole', (socket) => socket.end('0123456789abcdef'), '0123456789abcdef'],
    ['with a newline', (socket) => socket.end('0123456789abcdef\n'), '0123456789abcdef'],
    ['cut short', (socket) => socket.end('0123456789abcde'), undefined],
    ['no generation', (socket) => socket.end('HTTP/1.1 400 Bad Request'), undefined],
    ['never ending', (socket) => socket.write('0123456789abcdef'), undefined],
    ['silent', () => undefined, undefined],
    ['reset', (socket) => socket.destroy(), undefined],
    ['huge', (socket) => socket.end('0'.repeat(1_000_000)), undefined],
  ];
  for (const [name, behave, expected] of answers) {
    test(`${name} reads as ${expected ?? 'unknown'}, in time`, bounded, async () => {
      const path = await serve(behave);
      assert.equal(await readGeneration(path, 100), expected);
      await end();
    });
  }

  test('is unknown where nobody listens', bounded, async () => {
    assert.equal(await readGeneration(at('none.sock'), 100), undefined);
  });
});
