/** docs/ingress.md must show what is accepted, and numbers that are in force. The bed runs its examples through nginx. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { nginxSize } from '#src/agent/render/nginx-size.ts';
import { ingressExamples } from '../../support/ingress-examples.ts';
import { aMachine } from '../../support/world.ts';

const text = readFileSync(new URL('../../../docs/ingress.md', import.meta.url), 'utf8');

describe('docs/ingress.md', () => {
  test('has examples that are accepted', () => {
    const examples = ingressExamples();
    assert.ok(examples.length >= 8);
    assert.ok(examples.some(({ ingress }) => ingress.some(({ proxyProtocol }) => proxyProtocol === 'v1')));
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
});
