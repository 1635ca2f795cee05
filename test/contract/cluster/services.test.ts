/** Services followed at an API server that behaves and misbehaves, over TLS, with a real disk and real connections. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClusterApi } from '../../../src/systems/cluster/api.ts';
import { tryConnect, tryPort, tryPorts } from '../../../src/systems/cluster/service-reach.ts';
import type { ServiceReading, ServicesAim } from '../../../src/systems/cluster/service-types.ts';
import { createServiceWatch, type ServiceWatch } from '../../../src/systems/cluster/service-watch.ts';
import {
  answerWith,
  type BadHttpServer,
  type Behaviour,
  misbehaviours,
  type SeenRequest,
  startBadHttpServer,
} from '../../support/bad-http-server.ts';
import { type Identity, identity } from '../../support/certificates.ts';
import { writeKubeconfig } from '../../support/kubeconfig.ts';

const bounded = { timeout: 20_000 };
const ca = identity('k3s-server-ca');
const serving = identity('k3s', ca, 'IP:127.0.0.1,DNS:localhost');
const clientCa = identity('k3s-client-ca');
const kubelet = identity('system:node:edge-1', clientCa, 'DNS:edge-1');
const renewed = identity('system:node:edge-1', clientCa, 'DNS:edge-1');
const controller = identity('system:k3s-controller', clientCa, 'DNS:controller');
const traefik = 'kube-system/traefik';

const port = (name: string, number: number, nodePort: number | undefined, protocol = 'TCP') => ({
  name,
  port: number,
  protocol,
  targetPort: name,
  ...(nodePort === undefined ? {} : { nodePort }),
});
const usual = [port('web', 80, 31693), port('websecure', 443, 30484), port('h3', 443, 30484, 'UDP')];
const service = (ports: unknown, version = '100', name = 'traefik') => ({
  metadata: { namespace: 'kube-system', name, resourceVersion: version, uid: 'x' },
  spec: { type: 'LoadBalancer', clusterIP: '10.43.0.9', ports },
  status: { loadBalancer: {} },
});
const list = (items: readonly unknown[], version = '100') =>
  JSON.stringify({ kind: 'ServiceList', metadata: { resourceVersion: version }, items });
const event = (type: string, object: unknown) => `${JSON.stringify({ type, object })}\n`;
const bookmark = (version: string) =>
  event('BOOKMARK', { kind: 'Service', metadata: { resourceVersion: version } });
const isWatch = ({ path }: SeenRequest) => path.includes('watch=true');

describe('a Service of the cluster', () => {
  let server: BadHttpServer;
  let folder: string;
  let watch: ServiceWatch;
  let wakes: string[];
  let complaints: string[];
  let pauses: number[];
  let monoMs: number;
  /** Writes to the watch that is open now. */
  let send: ((text: string) => void) | undefined;
  let cut: () => void;
  let watches: number;
  let listed: Behaviour;
  let watched: Behaviour | undefined;

  const leave = (name: string, client: Identity) =>
    writeKubeconfig(folder, name, { server: server.url, ca: ca.cert, client });
  const open = (attempt: (host: string, port: number) => Promise<boolean> = async () => false) =>
    createServiceWatch({
      api: createClusterApi({
        kubeconfigs: [join(folder, 'kubelet.kubeconfig'), join(folder, 'k3scontroller.kubeconfig')],
        deadlineMs: 400,
      }),
      file: join(folder, 'services.json'),
      now: () => monoMs,
      wallNow: () => 1_790_000_000_000 + monoMs,
      random: () => 0.5,
      wake: (reason) => wakes.push(reason),
      log: (_level, message) => complaints.push(message),
      tryPort: attempt,
      pause: async (ms, signal) => {
        pauses.push(ms);
        // What is long lasts until something ends it; what is short costs no time here.
        await sleep(ms > 200_000 ? 60_000 : 2, undefined, { signal, ref: false }).catch(() => undefined);
      },
    });
  const wanted: ServicesAim = { wanted: [traefik], run: 'r1', path: 'p', address: '127.0.0.2' };
  const reading = (): ServiceReading | undefined => watch.read()[traefik];
  const until = async (what: string, holds: () => boolean) => {
    const endMs = performance.now() + 8_000;
    while (!holds()) {
      assert.ok(
        performance.now() < endMs,
        `${what}: ${JSON.stringify(watch.read())} ${complaints.join('; ')}`,
      );
      await sleep(5);
    }
  };
  const isLive = () => reading()?.state.kind === 'live';
  const nodePorts = () =>
    reading()?.ports.map(({ name, nodePort, isTold }) => `${name}:${nodePort}:${isTold}`);
  const isTrouble = (reason: string) => () => {
    const state = reading()?.state;
    return state?.kind === 'trouble' && state.reason === reason;
  };
  const follow = async () => {
    await watch.start();
    watch.aim(wanted);
    await until('a watch', () => isLive() && send !== undefined);
  };

  before(async () => {
    const tls = { ...serving, ca: clientCa.cert, requestCert: true };
    server = await startBadHttpServer(answerWith(200, '{}'), tls);
  });
  after(() => server.close());
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'mooring-services-'));
    [wakes, complaints, pauses, monoMs, watches] = [[], [], [], 1_000, 0];
    [send, cut, watched] = [undefined, () => undefined, undefined];
    listed = answerWith(200, list([service(usual)]));
    leave('kubelet', kubelet);
    leave('k3scontroller', controller);
    server.behave((request, response, socket) => {
      if (!isWatch(request)) return listed(request, response, socket);
      watches += 1;
      if (watched !== undefined) return watched(request, response, socket);
      response.writeHead(200, { 'Content-Type': 'application/json' }).flushHeaders();
      send = (text) => response.write(text);
      cut = () => socket.destroy();
      response.on('close', () => {
        send = undefined;
      });
    });
    watch = open();
  });
  afterEach(async () => {
    await watch.close();
    rmSync(folder, { recursive: true });
  });

  test('is listed by its name, watched from there, and its NodePorts are told', bounded, async () => {
    const from = server.seen.length;
    await follow();
    assert.deepEqual(nodePorts(), ['web:31693:true', 'websecure:30484:true', 'h3:30484:true']);
    assert.deepEqual(reading()?.ports[2], {
      name: 'h3',
      port: 443,
      protocol: 'udp',
      nodePort: 30484,
      isTold: true,
    });
    const [first, second] = server.seen.slice(from);
    const path = '/api/v1/namespaces/kube-system/services?fieldSelector=metadata.name%3Dtraefik';
    assert.equal(first?.path, path);
    assert.equal(
      second?.path,
      `${path}&watch=true&allowWatchBookmarks=true&timeoutSeconds=210&resourceVersion=100`,
    );
    assert.equal(wakes.length, 1);
  });

  test('is not asked for while nobody wants it or no k3s runs', bounded, async () => {
    const from = server.seen.length;
    await watch.start();
    watch.aim({ ...wanted, wanted: [] });
    watch.aim({ ...wanted, run: undefined });
    await sleep(50);
    assert.equal(server.seen.length, from);
    assert.deepEqual(pauses, []);
    assert.equal(reading()?.state.kind, 'unasked');
  });

  test('that changes is told at once, and once', bounded, async () => {
    await follow();
    const before = wakes.length;
    send?.(event('MODIFIED', service(usual, '101')));
    send?.(bookmark('102'));
    await until('a bookmark', () => reading()?.asOfMs !== undefined);
    assert.equal(wakes.length, before, 'nothing has changed');
    monoMs = 5_000;
    send?.(event('MODIFIED', service([port('web', 80, 32000), ...usual.slice(1)], '103')));
    await until('the change', () => nodePorts()?.[0] === 'web:32000:true');
    assert.equal(wakes.length, before + 1);
    assert.equal(reading()?.asOfMs, 1_790_000_005_000);
    await until('the watch to go on', () => send !== undefined && watches === 2);
    assert.match(server.seen.at(-1)?.path ?? '', /resourceVersion=103$/);
    assert.ok(pauses.includes(1_000), 'somebody who changes it all the time keeps nobody busy');
  });

  test('that is deleted, and comes back, stays known and is told', bounded, async () => {
    await follow();
    send?.(event('DELETED', service(usual, '104')));
    await until('the loss', () => {
      const state = reading()?.state;
      return state?.kind === 'live' && !state.isThere;
    });
    assert.deepEqual(nodePorts(), ['web:31693:false', 'websecure:30484:false', 'h3:30484:false']);
    await until('the watch to go on', () => send !== undefined && watches === 2);
    send?.(event('ADDED', service([port('web', 80, 32001)], '105')));
    await until('the return', () => nodePorts()?.[0] === 'web:32001:true');
    assert.deepEqual(nodePorts(), ['web:32001:true', 'websecure:30484:false', 'h3:30484:false']);
  });

  for (const [what, ports] of [
    ['is headless or has no NodePorts', [port('web', 80, undefined), port('websecure', 443, 0)]],
    ['has no ports', undefined],
    ['speaks SCTP alone', [port('web', 80, 31000, 'SCTP')]],
  ] as const) {
    test(`that ${what} is live, and takes nothing back that was known`, bounded, async () => {
      await follow();
      send?.(event('MODIFIED', service(ports, '106')));
      await until('the change', () => reading()?.ports.every(({ isTold }) => !isTold) === true);
      assert.equal(reading()?.ports.length, 3);
      assert.deepEqual(reading()?.state, { kind: 'live', isThere: true });
    });
  }

  for (const [what, text, message] of [
    ['no JSON', '<html>', /no JSON/],
    ['a list of a wrong type', '[]', /not the expected form/],
    ['items of a wrong type', '{"metadata":{"resourceVersion":"1"},"items":7}', /items/],
    ['no resourceVersion', '{"metadata":{},"items":[]}', /resourceVersion/],
    [
      'a hostile resourceVersion',
      '{"metadata":{"resourceVersion":"1\\r\\nHost: x"},"items":[]}',
      /resourceVersion/,
    ],
    ['two Services', list([service(usual), service(usual)]), /items/],
    ['another Service', list([service(usual, '1', 'other')]), /another Service than kube-system\/traefik/],
    ['a NodePort out of range', list([service([port('web', 80, 65_536)])]), /nodePort/],
    ['a negative NodePort', list([service([port('web', 80, -1)])]), /nodePort/],
    ['half a NodePort', list([service([port('web', 80, 31693.5)])]), /nodePort/],
    ['a NodePort in words', list([service([{ ...port('web', 80, 1), nodePort: '31693' }])]), /nodePort/],
    ['a port that is an address', list([service([{ ...port('web', 80, 1), port: '10.0.0.1:80' }])]), /port/],
    ['a hostile name', list([service([port('web;\n}', 80, 31693)])]), /name/],
    ['more ports than a Service has', list([service(Array(1_001).fill(port('web', 80, 31693)))]), /ports/],
  ] as const) {
    test(`of which the API answers ${what} stays as it was known, and that is told`, bounded, async () => {
      await follow();
      listed = answerWith(200, text);
      cut();
      await until('trouble', isTrouble('unusable'));
      const state = reading()?.state;
      assert.match(state?.kind === 'trouble' ? state.error : '', message);
      assert.deepEqual(nodePorts(), ['web:31693:true', 'websecure:30484:true', 'h3:30484:true']);
      listed = answerWith(200, list([service(usual)]));
      await until('an end of it', isLive);
    });
  }

  for (const { name, behave } of misbehaviours.filter(({ error }) => !/status|reset/.test(error.source))) {
    test(`stays known while the API ${name}, to lists and watches`, bounded, async () => {
      await follow();
      [listed, watched] = [behave, behave];
      cut();
      await until('trouble', isTrouble('away'));
      assert.equal(nodePorts()?.length, 3);
      [listed, watched] = [answerWith(200, list([service(usual)])), undefined];
      await until('an end of it', () => isLive() && send !== undefined);
    });
  }

  const stream =
    (text: string): Behaviour =>
    (_request, response) => {
      response.writeHead(200).write(text);
    };
  for (const [what, behave] of [
    ['ends at once', answerWith(200, '')],
    ['is gone (410)', answerWith(410, '{}')],
    ['is gone by its event', stream(event('ERROR', { kind: 'Status', code: 410, message: 'too old\n' }))],
    ['ends with an error of the server', stream(event('ERROR', { kind: 'Status', code: 500 }))],
    ['tells no JSON', stream('{"type":\n')],
    ['tells of another Service', stream(event('ADDED', service(usual, '1', 'other')))],
    ['tells of an unknown type', stream(event('RENAMED', service(usual)))],
    ['tells a bookmark without a version', stream(event('BOOKMARK', {}))],
    ['is one endless line', stream('x'.repeat(3_000_000))],
    ['tells more than all Services together', stream(`${' '.repeat(999)}\n`.repeat(20_000))],
    ['is forbidden', answerWith(403, '{}')],
    [
      'is cut in the middle of a line',
      ((_q, response, socket) => {
        response.writeHead(200).write('{"type":"MODI', () => socket.destroy());
      }) satisfies Behaviour,
    ],
  ] as const) {
    test(`whose watch ${what} is listed again, ever more seldom, and stays known`, bounded, async () => {
      watched = behave;
      await watch.start();
      watch.aim(wanted);
      const from = server.seen.length;
      await until('five lists', () => server.seen.slice(from).filter((one) => !isWatch(one)).length > 5);
      assert.equal(nodePorts()?.length, 3);
      assert.ok(isLive(), 'the lists tell it');
      const between = pauses.filter((ms) => ms < 60_000).slice(-3);
      assert.ok(
        between.every((ms) => ms >= 3_000),
        `pauses of ${between.join(', ')} ms`,
      );
      watched = undefined;
      await until('a watch', () => send !== undefined);
    });
  }

  test(
    'whose watch ends in order after minutes is watched on from there without a list',
    bounded,
    async () => {
      await follow();
      const from = server.seen.length;
      send?.(bookmark('777'));
      await until('a bookmark', () => reading()?.asOfMs === 1_790_000_001_000);
      monoMs += 200_000;
      watched = (request, response) => {
        watched = undefined;
        response.writeHead(200).flushHeaders();
        assert.match(request.path, /resourceVersion=777$/);
        send = (text) => response.write(text);
      };
      server.endStreams();
      await until('another watch', () => server.seen.length > from);
      assert.deepEqual(server.seen.slice(from).map(isWatch), [true]);
    },
  );

  test('that the API does not show to this node stays known; the refusal is told', bounded, async () => {
    await follow();
    listed = answerWith(403, '{}');
    cut();
    await until('a refusal', isTrouble('refused'));
    assert.equal(nodePorts()?.length, 3);
    listed = answerWith(404, '{}');
    await until('no API', isTrouble('unusable'));
  });

  test(
    'is followed on with renewed certificates, which the old connection did not see',
    bounded,
    async () => {
      await follow();
      let accepted = '';
      listed = (request, response, socket) => {
        const serial = String(Reflect.get(socket, 'getPeerCertificate').call(socket).serialNumber);
        accepted ||= serial;
        answerWith(serial === accepted ? 401 : 200, list([service(usual, '200')], '200'))(
          request,
          response,
          socket,
        );
      };
      cut();
      await until('a refusal', isTrouble('refused'));
      leave('kubelet', renewed);
      await until('a watch', () => isLive() && send !== undefined);
      assert.match(server.seen.at(-1)?.path ?? '', /resourceVersion=200$/);
    },
  );

  test('that is known is on disk, and serves another run without the cluster', bounded, async () => {
    await follow();
    send?.(event('MODIFIED', service([port('web', 80, 32000)], '103')));
    await until('the change', () => nodePorts()?.[0] === 'web:32000:true');
    monoMs = 99_000;
    const told = reading();
    await watch.close();
    watch = open();
    await watch.look();
    assert.deepEqual(reading(), { ...told, state: { kind: 'unasked' } });
  });

  for (const [what, spoil] of [
    ['is cut short', (text: string) => text.slice(0, -10)],
    ['is empty', () => ''],
    ['is no JSON', () => '\u0000\u0001'],
    ['is of another version', (text: string) => text.replace('"version":1', '"version":2')],
    ['leads elsewhere', (text: string) => text.replace('31693', '"10.0.0.1:80"')],
    ['leads to no port', (text: string) => text.replace('31693', '0')],
    ['names a path', (text: string) => text.replace('kube-system/traefik', '../../etc')],
    ['has an address that is none', (text: string) => text.replace('"127.0.0.2"', '"127.0.0.2; evil"')],
    ['has more than there is', (text: string) => text.replace('"nodePort"', '"host":"x","nodePort"')],
    ['is huge', (text: string) => text + ' '.repeat(5_000_000)],
  ] as const) {
    test(`whose file ${what} is unknown, and that is told`, bounded, async () => {
      watch = open(async (host) => host === '127.0.0.2');
      await follow();
      await until('a reach', () => reading()?.reach.tcp !== undefined);
      await watch.close();
      const file = join(folder, 'services.json');
      const text = readFileSync(file, 'utf8');
      writeFileSync(file, spoil(text));
      watch = open();
      await watch.look();
      assert.deepEqual(watch.read(), {});
      assert.match(complaints.at(-1) ?? '', /services\.json cannot be used and counts as absent/);
      writeFileSync(file, text);
      await watch.look();
      assert.deepEqual(reading()?.reach.tcp, { kind: 'node', address: '127.0.0.2' });
    });
  }

  test('whose NodePorts nobody serves yet is tried again, ever more seldom', bounded, async () => {
    let tries = 0;
    watch = open(async () => {
      tries += 1;
      return tries > 6 * 22;
    });
    await follow();
    await until('a reach', () => reading()?.reach.tcp?.kind === 'loopback');
    const trials = pauses.filter((ms) => ms < 200_000 && ms !== 1_500);
    assert.ok(
      trials.slice(0, 20).every((ms) => ms <= 250 * 0.75 || ms > 400),
      trials.join(' '),
    );
    assert.deepEqual(pauses.filter((ms) => ms === 187.5).length, 20, 'quickly for some seconds');
    assert.ok(pauses.includes(750), 'then more seldom');
    assert.deepEqual(reading()?.answering, ['tcp 31693', 'tcp 30484', 'udp 30484']);
    assert.ok(wakes.some((reason) => reason.includes('are served: tcp 31693')));
  });

  test('is left at once when mooring ends, in whatever it waits for', bounded, async () => {
    watched = () => undefined;
    await watch.start();
    watch.aim(wanted);
    await until('a watch', () => watches > 0);
    const startedMs = performance.now();
    await watch.close();
    assert.ok(performance.now() - startedMs < 300);
  });
});

describe('where NodePorts are served', () => {
  const servers: Server[] = [];
  const serve = (host: string, at = 0): Promise<number> =>
    new Promise((resolve, reject) => {
      const one = createServer((socket) => socket.destroy());
      servers.push(one);
      one.on('error', reject).listen(at, host, () => {
        const address = one.address();
        resolve(typeof address === 'object' && address !== null ? address.port : 0);
      });
    });
  const ports = (...numbers: number[]) =>
    numbers.map((nodePort) => ({ name: '', port: 1, protocol: 'tcp' as const, nodePort, isTold: true }));
  const reachOf = async (...asked: Parameters<typeof tryPorts>) => (await tryPorts(...asked)).reach.tcp;
  afterEach(() => {
    for (const one of servers.splice(0)) one.close();
  });

  test('is loopback where that answers, also beside the node’s address', bounded, async () => {
    const port = await serve('127.0.0.1');
    await serve('127.0.0.2', port);
    assert.deepEqual(await reachOf(ports(port), '127.0.0.2'), { kind: 'loopback' });
    assert.deepEqual(await reachOf(ports(1, port), undefined), { kind: 'loopback' });
  });

  test('is the node’s address where that alone answers', bounded, async () => {
    const port = await serve('127.0.0.2');
    assert.deepEqual(await reachOf(ports(port), '127.0.0.2'), { kind: 'node', address: '127.0.0.2' });
    assert.equal(await reachOf(ports(port), undefined), undefined);
  });

  test('is loopback where kube-proxy begins to serve between two questions', bounded, async () => {
    const answers = [false, true, true];
    const { reach } = await tryPorts(ports(5), '10.45.0.7', async () => answers.shift() ?? false);
    assert.deepEqual(reach.tcp, { kind: 'loopback' });
  });

  test('is not known where nobody answers', bounded, async () => {
    assert.deepEqual(await tryPorts(ports(1), '127.0.0.2'), {
      reach: { tcp: undefined, udp: undefined },
      answering: [],
    });
    assert.equal(await tryPort('127.0.0.1', 1, 'udp'), false, 'the kernel refuses a datagram');
  });

  test('is told port by port, for UDP by what nobody refuses', bounded, async () => {
    const port = await serve('127.0.0.2');
    const endpoint = createSocket('udp4');
    await new Promise<void>((resolve) => endpoint.bind(0, '127.0.0.2', resolve));
    const udp = [endpoint.address().port, 1].map((nodePort) => ({
      name: '',
      port: 1,
      protocol: 'udp' as const,
      nodePort,
      isTold: true,
    }));
    const mixed = await tryPorts([...udp, ...ports(port, 1)], '127.0.0.2');
    const node = { kind: 'node', address: '127.0.0.2' };
    assert.deepEqual(mixed.reach, { tcp: node, udp: node });
    assert.deepEqual(mixed.answering, [udp[0], ...ports(port)]);
    assert.deepEqual((await tryPorts(udp, '127.0.0.2')).reach, { tcp: undefined, udp: node });
    const split = async (host: string, _port: number, protocol: string) =>
      protocol === 'tcp' || host !== '127.0.0.1';
    const { reach } = await tryPorts(mixed.answering, '127.0.0.2', split);
    assert.deepEqual(reach, { tcp: { kind: 'loopback' }, udp: node });
    endpoint.close();
  });

  test('is tried with a deadline', bounded, async () => {
    const startedMs = performance.now();
    // An address for documentation: nobody answers, or there is no route.
    assert.equal(await tryConnect('192.0.2.1', 80, 100), false);
    assert.ok(performance.now() - startedMs < 2_000);
  });
});
