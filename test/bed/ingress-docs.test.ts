/** Every example of docs/ingress.md, through the real nginx and the real nft. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptyMemory } from '#src/agent/memory.ts';
import { renderLimits } from '#src/agent/render/nft-limits.ts';
import { nginxHost, renderNginxConf } from '#src/agent/render/nginx-conf.ts';
import { listensOf } from '#src/agent/render/nginx-listens.ts';
import { ingressExamples } from '../support/ingress-examples.ts';
import { aWorld } from '../support/world.ts';
import { createNginxCheck } from './nginx-check.ts';

/** A node that has what the page names. */
const addresses = {
  here: ['172.31.4.20', '10.45.0.7', '203.0.113.7'],
  defaultRoute: ['172.31.4.20'],
  zerotier: ['10.45.0.7'],
};

test('the examples of docs/ingress.md are configs that nginx and nft take', async () => {
  const nginx = await createNginxCheck();
  try {
    for (const config of ingressExamples()) {
      const served = config.ingress.map((entry) => ({
        ...entry,
        // What is found in the cluster comes to a list like this one.
        upstreams: Array.isArray(entry.upstreams) ? entry.upstreams : ['127.0.0.1:30484'],
      }));
      const host = { ...nginxHost(config, aWorld(), emptyMemory(0)), addresses };
      const { text, waiting } = renderNginxConf(served, host);
      assert.deepEqual(waiting, []);
      assert.equal(await nginx.check(text), undefined, text);
      const rules = renderLimits(served, listensOf(text));
      if (rules !== undefined) assert.equal(await nginx.checkRules(rules), undefined, rules);
    }
  } finally {
    nginx.close();
  }
});
