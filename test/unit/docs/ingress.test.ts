/** docs/ingress.md must show what is accepted, and numbers that are in force. The bed runs its examples through nginx. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { nginxSize } from '#src/agent/render/nginx-size.ts';
import { createMetrics } from '#src/health/metrics.ts';
import { figuresOf, newCount } from '#src/systems/nginx/session-counts.ts';
import { ingressExamples } from '../../support/ingress-examples.ts';
import { aMachine } from '../../support/world.ts';

const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');
const text = read('docs/ingress.md');

describe('docs/ingress.md', () => {
  test('has examples that are accepted', () => {
    const examples = ingressExamples();
    assert.ok(examples.length >= 8);
    assert.ok(examples.some(({ ingress }) => ingress.some(({ proxyProtocol }) => proxyProtocol === 'v1')));
  });

  test('names metrics that there are, and every result of a session', () => {
    const source = read('src/health/ingress-metrics.ts');
    const told = text.match(/mooring_ingress_\w+/g) ?? [];
    assert.ok(told.length >= 5);
    for (const name of told) assert.ok(source.includes(`'${name}'`), name);
    const [, results = ''] = /type SessionResult =\n(.*?);/s.exec(read('src/systems/nginx/types.ts')) ?? [];
    const words = [...results.matchAll(/'(\w+)'/g)].map(([, word = '']) => word);
    assert.ok(words.length >= 5);
    for (const word of words) assert.ok(text.includes(`\`${word}\``), word);
  });

  test('tells how many connections a machine holds', () => {
    const rows = [...text.matchAll(/^\| (\d+) (MB|GB)(?: or more)? \| ([\d,]+) \|$/gm)];
    assert.equal(rows.length, 6);
    for (const [row, amount = '', unit = '', told = ''] of rows) {
      const memoryBytes = Number(amount) * (unit === 'GB' ? 2 ** 30 : 2 ** 20);
      const [example] = ingressExamples();
      assert.ok(example !== undefined);
      const size = nginxSize(example.nginx, { ...aMachine, memoryBytes, cores: 1, openFiles: 524_288 });
      const off = size.perWorker / Number(told.replaceAll(',', ''));
      assert.ok(off > 0.98 && off < 1.03, `${row} is ${size.perWorker}`);
    }
  });

  test('tells of each metric of the listeners, and of each result', async () => {
    const web = figuresOf(newCount('web', 'tcp', 0));
    const figures = {
      read: async () => [{ ...web, open: 1, upstreamFailures: { a: 1 } }],
      discardedLines: 0,
    };
    const told = await createMetrics('1.2.3', () => 0, figures).render();
    const names = new Set(
      [...told.matchAll(/^(mooring_ingress_\w+)\{?.*listener=/gm)].map(([, name]) => name),
    );
    assert.equal(names.size, 6);
    for (const name of [...names, 'mooring_ingress_discarded_log_lines_total'])
      assert.ok(text.includes(`\`${name}\``), `${name} is documented`);
    for (const result of Object.keys(web.sessions)) assert.ok(text.includes(`\`${result}\``), result);
  });
});
