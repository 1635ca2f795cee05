/** Every example of docs/ingress.md, through the real nginx. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { renderNginxConf } from '#src/agent/render/nginx-conf.ts';
import { nginxSize } from '#src/agent/render/nginx-size.ts';
import { ingressExamples } from '../support/ingress-examples.ts';
import { aMachine } from '../support/world.ts';
import { createNginxCheck } from './nginx-check.ts';

test('the examples of docs/ingress.md are configs that nginx takes', async () => {
  const nginx = await createNginxCheck();
  try {
    for (const { ingress, nginx: wanted } of ingressExamples()) {
      const served = ingress.map((entry) => ({
        ...entry,
        // What is found in the cluster comes to a list like this one.
        upstreams: Array.isArray(entry.upstreams) ? entry.upstreams : ['127.0.0.1:30484'],
      }));
      const { text } = renderNginxConf(served, { ipv6: true, size: nginxSize(wanted, aMachine) });
      assert.equal(await nginx.check(text), undefined, text);
    }
  } finally {
    nginx.close();
  }
});
