import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import {
  isController,
  parseIdentity,
  putIdentity,
  usedIdentity,
} from '../../../src/systems/zerotier/identity.ts';

const publicKey = '0123456789abcdef'.repeat(8);
const privateKey = 'fedcba9876543210'.repeat(8);
const publicText = `40c95ab4df:0:${publicKey}`;
const secretText = `${publicText}:${privateKey}`;

describe('a ZeroTier identity', () => {
  test('is read with or without a newline, in either case of its digits', () => {
    const identity = { address: '40c95ab4df', publicText, secretText };
    assert.deepEqual(parseIdentity(secretText), identity);
    assert.deepEqual(parseIdentity(`${secretText.toUpperCase()}\n`), identity);
  });

  for (const [what, text] of [
    ['nothing', ''],
    ['the public part alone', publicText],
    ['a type that ZeroTier does not use', secretText.replace(':0:', ':1:')],
    ['an address that is reserved', `ff${secretText.slice(2)}`],
    ['an address of zeros', `0000000000${secretText.slice(10)}`],
    ['a cut one', secretText.slice(0, -1)],
    ['a longer one', `${secretText}0`],
    ['other digits', secretText.replace('fedc', 'wxyz')],
    ['two of them', `${secretText}\n${secretText}`],
  ] as const) {
    test(`is not ${what}`, () => assert.equal(parseIdentity(text), undefined));
  }
});

describe('an identity that is put in place', () => {
  let root: string;
  let home: string;
  const identity = parseIdentity(secretText);
  assert.ok(identity !== undefined);
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'mooring-identity-'));
    home = join(root, 'zerotier-one');
  });
  afterEach(() => rm(root, { recursive: true }));

  test('is there whole, the secret for its owner alone', async () => {
    assert.equal(await usedIdentity(home), undefined);
    assert.deepEqual(await putIdentity(home, identity), { kind: 'written' });
    assert.equal(await readFile(join(home, 'identity.public'), 'utf8'), publicText);
    assert.equal(await readFile(join(home, 'identity.secret'), 'utf8'), secretText);
    assert.equal((await stat(join(home, 'identity.secret'))).mode & 0o777, 0o600);
    assert.equal((await stat(join(home, 'identity.public'))).mode & 0o777, 0o644);
    assert.deepEqual((await readdir(home)).sort(), ['identity.public', 'identity.secret']);
    assert.equal(await usedIdentity(home), '40c95ab4df');
  });

  test('is left as it is when it is there already', async () => {
    await putIdentity(home, identity);
    assert.deepEqual(await putIdentity(home, identity), { kind: 'unchanged' });
  });

  for (const [what, text, address] of [
    ['another one', secretText.replace('40c95ab4df', 'beef26c292'), 'beef26c292'],
    ['something that it does not understand', 'precious', 'unknown'],
  ] as const) {
    test(`never replaces ${what}`, async () => {
      await mkdir(home);
      await writeFile(join(home, 'identity.secret'), text);
      assert.deepEqual(await putIdentity(home, identity), { kind: 'other', address });
      assert.equal(await readFile(join(home, 'identity.secret'), 'utf8'), text);
    });
  }

  test('takes the place of an empty file, which a crash may leave', async () => {
    await mkdir(home);
    await writeFile(join(home, 'identity.secret'), '');
    assert.deepEqual(await putIdentity(home, identity), { kind: 'written' });
  });

  test('belongs to a controller where networks are kept', async () => {
    assert.equal(await isController(home), false);
    await mkdir(join(home, 'controller.d/network'), { recursive: true });
    assert.equal(await isController(home), false);
    await writeFile(join(home, 'controller.d/network/40c95ab4df000001.json'), '{}');
    assert.equal(await isController(home), true);
  });
});
