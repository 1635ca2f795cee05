import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { look } from '../../support/moored.ts';

const told = (exposed: Parameters<typeof look>[0]) => {
  const { conditions } = look(exposed).result;
  const of = (type: string) => conditions.find((condition) => condition.type === type);
  return { secrets: of('SecretsProtected'), ready: of('Ready') };
};

describe('secrets', () => {
  test('that nobody else can read are no matter', () => {
    assert.equal(told({ exposed: [] }).secrets?.reason, 'Protected');
  });

  test('that others can read are told with the command that mends it, and keep no node from being Ready', () => {
    const exposed = [
      { path: '/etc/mooring/k3s-token', mode: 0o644 },
      { path: '/etc/mooring/api-token', mode: 0o40 },
    ];
    const { secrets, ready } = told({ exposed });
    assert.equal(secrets?.reason, 'Exposed');
    assert.equal(secrets?.severity, 'warning');
    assert.match(secrets?.message ?? '', /k3s-token \(mode 0644\), \/etc\/mooring\/api-token \(mode 0040\)/);
    assert.match(secrets?.message ?? '', /chmod 600 \/etc\/mooring\/k3s-token \/etc\/mooring\/api-token/);
    assert.equal(ready?.status, 'true');
  });
});
