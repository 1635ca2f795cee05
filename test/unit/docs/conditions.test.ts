/** docs/conditions.md must name exactly the conditions and reasons that the code can tell, with their status. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { type ConditionType, conditionTypes } from '#src/agent/conditions.ts';
import { look } from '../../support/moored.ts';

const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');
const docs = read('docs/conditions.md');

/** Which sources tell of which conditions. */
const sources: readonly (readonly [string, readonly ConditionType[]])[] = [
  [
    'src/agent/stages/zerotier.ts src/agent/stages/authorize.ts',
    ['ZeroTierOnline', 'BlacklistInForce', 'NetworkAuthorized'],
  ],
  ['src/agent/stages/link.ts', ['LinkReady']],
  ['src/agent/stages/dns.ts', ['DnsConfigured']],
  ['src/agent/stages/cloud.ts', ['CloudFactsKnown']],
  ['src/agent/stages/k3s.ts', ['K3sRunning']],
  ['src/agent/stages/k3s-install.ts', ['K3sInstalled', 'K3sUpToDate']],
  ['src/agent/stages/upstreams.ts', ['UpstreamsFound']],
  ['src/agent/stages/ingress.ts src/agent/stages/ingress-ports.ts', ['IngressRunning']],
  ['src/agent/stages/limits.ts', ['IngressLimited']],
  ['src/agent/stages/server.ts', ['ServerReachable']],
  ['src/agent/stages/pod-network.ts', ['PodNetworkReady']],
  ['src/agent/plan.ts', ['ConfigAccepted']],
  ['src/agent/stages/secrets.ts', ['SecretsProtected']],
];

/** `status reason` of each finding that a source can make. */
function told(source: string): readonly string[] {
  const findings = [...source.matchAll(/\bis(True|False|Unknown)\(\s*'(\w+)'/g)].map(
    ([, status = '', reason = '']) => `${status.toLowerCase()} ${reason}`,
  );
  const links = [...source.matchAll(/kind: '(not-ready|unknown)',\s*reason: '(\w+)'/g)].map(
    ([, kind, reason = '']) => `${kind === 'unknown' ? 'unknown' : 'false'} ${reason}`,
  );
  return [...new Set([...findings, ...links])].sort();
}

/** The section of a condition: its text and `status reason` of each row. */
function section(type: ConditionType): { readonly text: string; readonly rows: readonly string[] } {
  const start = docs.indexOf(`\n## ${type}\n`);
  assert.notEqual(start, -1, `there is a section ${type}`);
  const text = docs.slice(start + 1).split('\n## ')[0] ?? '';
  const rows = [...text.matchAll(/^\| (true|false|unknown) \| ([^|]+) \| [^|]{10,} \|$/gm)].map(
    ([, status = '', reason = '']) => `${status} ${reason}`,
  );
  return { text, rows };
}

describe('docs/conditions.md', () => {
  test('has a section for each condition, in the order in which they are shown', () => {
    const headings = [...docs.matchAll(/^## (\w+)$/gm)].map((match) => match[1]);
    assert.deepEqual(headings, conditionTypes);
  });

  for (const [path, types] of sources) {
    test(`has exactly the reasons of ${path}`, () => {
      const documented = types.flatMap((type) => section(type).rows);
      const inCode = told(path.split(' ').map(read).join('\n'));
      assert.ok(inCode.length > 0);
      assert.deepEqual([...new Set(documented)].sort(), inCode);
    });
  }

  test('gives no reason twice in a section', () => {
    for (const type of conditionTypes) {
      const { rows } = section(type);
      assert.equal(new Set(rows).size, rows.length, type);
    }
  });

  test('tells each severity as it is registered', () => {
    for (const { type, severity } of look().result.conditions) {
      const word = `${severity[0]?.toUpperCase()}${severity.slice(1)}`;
      assert.match(section(type).text, new RegExp(`\\n\\n${word}[.;]`), type);
    }
  });

  test('has rows for Ready', () => {
    assert.deepEqual(section('Ready').rows, ['true Moored', 'false the name of a condition']);
  });
});
