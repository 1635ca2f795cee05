import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { CliContext } from '#src/cli/context.ts';
import { wait } from '#src/cli/wait.ts';

async function waitFor(timeout: string): Promise<{ code: number; complaints: readonly string[] }> {
  const complaints: string[] = [];
  const context: CliContext = {
    configFile: '/nonexistent',
    flags: { timeout },
    print: () => undefined,
    complain: (line) => complaints.push(line),
  };
  return { code: await wait(context), complaints };
}

describe('mooring wait', () => {
  for (const text of ['', '10', '10 m', '-1s', '1.5h', '1d', '10M', '9999999s', 's']) {
    test(`refuses "${text}" as a duration`, async () => {
      const { code, complaints } = await waitFor(text);
      assert.equal(code, 2);
      assert.deepEqual(complaints, [
        `--timeout: found "${text}"; allowed: a duration such as 90s, 10m or 1h`,
      ]);
    });
  }

  test('looks at least once, then tells why the node is not moored', async () => {
    const { code, complaints } = await waitFor('0s');
    assert.equal(code, 1);
    assert.match(complaints[0] ?? '', /^not moored after 0 s: mooring does not run /);
  });
});
