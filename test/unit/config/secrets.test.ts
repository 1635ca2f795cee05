import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { redactText } from '#src/config/redact.ts';
import { secretPath } from '#src/config/secrets.ts';

const k3sToken = `K10${'e3b0c442'.repeat(8)}::server:correcthorse`;
const zerotierToken = 'abcdefghijklmnopqrstuvwx';

describe('a secret in text', () => {
  const leaks = [
    `joining with ${k3sToken}`,
    `token: "${k3sToken}"`,
    `K10${'e3b0c442'.repeat(8)}`,
    'bare K10abcdef0123456789',
    `X-ZT1-Auth: ${zerotierToken}`,
    `{"x-zt1-auth": "${zerotierToken}"}`,
    `authtoken.secret ${zerotierToken}`,
    `authtoken=${zerotierToken}`,
    `GET /status?auth=${zerotierToken}`,
    `Authorization: Bearer ${zerotierToken}`,
    'agent-token: correcthorse',
    '--agent-token=correcthorse',
    'apiToken: correcthorse',
    "password = 'correct horse'",
    'https://admin:correcthorse@k3s.home.example:6443',
    'join with abcdef.0123456789abcdef now',
  ];
  for (const text of leaks) {
    test(`is taken out of: ${text.slice(0, 30)}`, () => {
      const redacted = redactText(text);
      assert.match(redacted, /\(redacted\)/);
      assert.doesNotMatch(redacted, /correct ?horse|e3b0c442|abcdefghij|abcdef/);
      assert.equal(redactText(redacted), redacted, 'a second pass changes nothing');
    });
  }

  test('is not seen in paths and plain words', () => {
    for (const text of [
      'token-file: /run/mooring/k3s-token',
      'token: {file: /etc/mooring/k3s-token}',
      'token: /etc/mooring/k3s-token',
      'https://k3s.home.example:6443 answered',
      'network 8056c2e21c000001 on zt5z3ovhj4',
    ])
      assert.equal(redactText(text), text);
  });

  test('is found in a long text without delay', () => {
    const startedMs = performance.now();
    redactText('token-'.repeat(100_000));
    redactText('a'.repeat(500_000));
    assert.ok(performance.now() - startedMs < 5_000);
  });
});

describe("a secret's path", () => {
  test('is the file itself, or the credential in the folder systemd names', () => {
    assert.equal(secretPath({ file: '/etc/mooring/k3s-token' }, undefined), '/etc/mooring/k3s-token');
    assert.equal(
      secretPath({ credential: 'k3s-token' }, '/run/credentials/x'),
      '/run/credentials/x/k3s-token',
    );
  });

  test('is nothing without credentials', () => {
    assert.equal(secretPath({ credential: 'k3s-token' }, undefined), undefined);
    assert.equal(secretPath({ credential: 'k3s-token' }, ''), undefined);
  });

  test('never leads out of its folder', () => {
    for (const credential of ['..', '.', '', '../x', 'a/b', '/etc/shadow', 'a\0b'])
      assert.equal(secretPath({ credential }, '/run/credentials/x'), undefined);
    for (const file of ['relative', '/etc/../etc/shadow', '/a/./b', '/a\0b'])
      assert.equal(secretPath({ file }, undefined), undefined);
  });
});
