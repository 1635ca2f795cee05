/**
 * The k3s server away, silent, or another one, while the link is fine: it is told which side is cut, and nothing is restarted.
 * One moored node; the tests follow each other, and each leaves it moored.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { reload } from './ask.ts';
import { Bed } from './bed.ts';
import { k3sStarts, type Lifelines, lifelines } from './lifelines.ts';
import { waitFor } from './process.ts';

const dropIn = '/etc/mooring/config.d/50-test.yaml';
const probe = 'calm: 2s, eager: 1s, deadline: 1s';
const tokenFile = '/etc/mooring/k3s-token';
const noticeMs = 30_000;

describe('while the k3s server', () => {
  let bed: Bed;
  let former: Lifelines;
  let starts: Readonly<Record<string, number>>;

  before(async () => {
    bed = await Bed.start({ boot: false });
    await bed.node.prepareFile(dropIn, `k3s: {probe: {${probe}}}\n`);
    await bed.node.boot();
    await bed.authorise();
    await bed.waitForReady();
    await waitForReason('Verified');
    former = await lifelines(bed);
    starts = await k3sStarts(bed);
  });
  after(async () => {
    await bed?.stop();
  });

  const condition = async (type: string) => (await bed.status())?.conditions.find((one) => one.type === type);
  const waitForReason = (reason: string) =>
    waitFor(
      `ServerReachable to be ${reason}`,
      async () => (await condition('ServerReachable'))?.reason === reason,
      { timeoutMs: noticeMs, context: () => bed.report() },
    );
  const metric = async (name: string) => {
    const metrics = await bed.node.run(['curl', '-sSf', 'http://127.0.0.1:9810/metrics']);
    return new RegExp(`^${name}(?:{[^}]*})? (\\S+)$`, 'm').exec(metrics)?.[1];
  };
  const nothingRestarted = async () => {
    assert.deepEqual(await lifelines(bed), former);
    assert.deepEqual(await k3sStarts(bed), starts);
    assert.equal((await condition('Ready'))?.status, 'true');
    assert.equal((await condition('LinkReady'))?.status, 'true');
  };

  test('answers, that is told, with what it took', async () => {
    assert.equal(await metric('mooring_k3s_server_reachable'), '1');
    assert.equal(await metric('mooring_home_dns_reachable'), '1');
    assert.ok(Number(await metric('mooring_k3s_server_probe_duration_seconds')) < 1);
    assert.ok(Number(await metric('mooring_zerotier_controller_last_receive_age_seconds')) < 200);
    assert.match(
      await bed.node.run(['mooring', 'status']),
      /^home {5}server reachable \(verified, \d+ ms\), DNS answers$/m,
    );
  });

  const ping = ['curl', '-sSk', '--max-time', '3', 'https://k3s.home.example:6443/ping'];
  for (const [mode, failure, words] of [
    ['refuse', /refused|Couldn't connect|Could not connect/, /connection refused.*not the link/],
    ['hang', /timed out/, /no answer within 1000 ms.*not the link/],
  ] as const)
    test(`is away (${mode}), nothing is restarted, and the link is not blamed`, async () => {
      await bed.home.k3sMode(mode);
      assert.match((await bed.node.tryRun(ping)).stderr, failure);
      await waitForReason('ServerAway');
      assert.match((await condition('ServerReachable'))?.message ?? '', words);
      assert.equal(await metric('mooring_k3s_server_reachable'), '0');
      await nothingRestarted();
      await bed.home.k3sMode('ok');
      await waitForReason('Verified');
      await nothingRestarted();
    });

  test('is silent together with all of home, that is told as such, though the link is still called fine', async () => {
    await bed.cut();
    assert.match((await bed.node.tryRun(ping)).stderr, /timed out|Could not resolve/);
    await waitForReason('HomeSilent');
    assert.equal(await metric('mooring_home_dns_reachable'), '0');
    await nothingRestarted();
    await bed.heal();
    await waitForReason('Verified');
    await nothingRestarted();
  });

  test('is not the one that the token names, that is told, and its token is not given to it', async () => {
    const token = await bed.node.run(['cat', tokenFile]);
    assert.match(token, /^K10[0-9a-f]{64}::/);
    await bed.node.run(['sed', '-i', `s/^K10.\\{64\\}/K10${'0'.repeat(64)}/`, tokenFile]);
    await waitForReason('WrongCa');
    assert.doesNotMatch(JSON.stringify(await bed.status()), /0{64}/);
    await nothingRestarted();
    await bed.node.run(['sed', '-i', `s/^K10.\\{64\\}/${token.slice(0, 67)}/`, tokenFile]);
    await waitForReason('Verified');
    await nothingRestarted();
  });

  test('is silent together with everything beyond the link, that is an outage of the link', async () => {
    const outages = () => metric('mooring_link_outages_total');
    const before = await outages();
    // The controller is heard once a minute, so it counts as silent almost always.
    const impatient = `k3s: {probe: {${probe}, controllerSilence: 5s}, restart: {outage: 3s}}\n`;
    await bed.node.writeFile(dropIn, impatient);
    await reload(bed);
    await bed.cut();
    assert.match((await bed.node.tryRun(ping)).stderr, /timed out|Could not resolve/);
    await waitForReason('LinkSilent');
    await waitFor('it to be counted', async () => Number(await outages()) === Number(before) + 1, {
      timeoutMs: noticeMs,
      context: () => bed.report(),
    });
    assert.deepEqual(await k3sStarts(bed), starts, 'nothing is restarted while nothing answers');
    await bed.heal();
    await waitForReason('Verified');
    await waitFor(
      'the restart',
      async () => ((await k3sStarts(bed))['outage'] ?? 0) === (starts['outage'] ?? 0) + 1,
      { timeoutMs: noticeMs, context: () => bed.report() },
    );
    await bed.waitForReady(noticeMs);
    const { outage: _, ...others } = await k3sStarts(bed);
    const { outage: __, ...former } = starts;
    assert.deepEqual(others, former);
  });
});
