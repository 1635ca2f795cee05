/**
 * zerotier-one's identity on disk, while zerotier-one does not run: put in place, or taken away so that it makes a new one.
 *
 * Always true here: an identity that is there is never replaced by another one; the secret appears in no error; the public part
 * is written before the secret one, whose presence tells ZeroTier that there is an identity. Format: ZeroTierOne,
 * node/Identity.cpp (`address:0:public:private`, in hex, type 0 being the only one).
 */
import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, messageOf, SystemError } from '../error.ts';
import { readFileText, writeFileAtomic } from '../files/atomic.ts';

export interface Identity {
  /** 10 hex digits. */
  readonly address: string;
  /** What identity.public holds. */
  readonly publicText: string;
  /** What identity.secret holds. */
  readonly secretText: string;
}

export type PutOutcome =
  | { readonly kind: 'written' }
  | { readonly kind: 'unchanged' }
  /** Another identity is in use. */
  | { readonly kind: 'other'; readonly address: string };

const maxBytes = 4096;

/** Undefined where it is none. Addresses that begin with ff are reserved. */
export function parseIdentity(text: string): Identity | undefined {
  const match = /^(([0-9a-f]{10}):0:[0-9a-f]{128}):[0-9a-f]{128}$/i.exec(text.trim());
  const [secretText, publicText, address] = (match ?? []).map((part) => part.toLowerCase());
  if (secretText === undefined || publicText === undefined || address === undefined) return undefined;
  return /^(ff|0{10})/.test(address) ? undefined : { address, publicText, secretText };
}

/** The address of the identity that is in use; undefined where there is none. Throws `zerotier-home-unreadable`. */
export async function usedIdentity(home: string): Promise<string | undefined> {
  const path = join(home, 'identity.secret');
  const read = await readFileText(path, maxBytes);
  if (read.kind === 'absent' || (read.kind === 'present' && read.text.trim() === '')) return undefined;
  if (read.kind === 'unreadable')
    throw new SystemError('zerotier-home-unreadable', `cannot read ${path}: ${read.error}`);
  return parseIdentity(read.text)?.address ?? 'unknown';
}

/** Puts one in place, for the user `zerotier-one` where there is one. Throws as `writeFileAtomic` does, or as `usedIdentity`. */
export async function putIdentity(home: string, identity: Identity): Promise<PutOutcome> {
  const used = await usedIdentity(home);
  if (used === identity.address) return { kind: 'unchanged' };
  if (used !== undefined) return { kind: 'other', address: used };
  try {
    await mkdir(home, { recursive: true, mode: 0o755 });
  } catch (error) {
    throw new SystemError('write-failed', `cannot make ${home}: ${messageOf(error)}`, { cause: error });
  }
  const { uid, gid } = (await zerotierUser()) ?? (await stat(home));
  const owner = { uid, gid };
  await writeFileAtomic(join(home, 'identity.public'), identity.publicText, { mode: 0o644, owner });
  await writeFileAtomic(join(home, 'identity.secret'), identity.secretText, { mode: 0o600, owner });
  return { kind: 'written' };
}

/** Whether networks are kept here as their controller: then the identity is theirs as well. */
export async function isController(home: string): Promise<boolean> {
  try {
    return (await readdir(join(home, 'controller.d/network'))).some((name) => name.endsWith('.json'));
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return false;
    throw new SystemError('zerotier-home-unreadable', `cannot read ${home}: ${messageOf(error)}`);
  }
}

/** Root's view of the user that packages of zerotier-one make. */
async function zerotierUser(): Promise<{ uid: number; gid: number } | undefined> {
  const passwd = await readFileText('/etc/passwd', 4 * 1024 * 1024);
  const line = passwd.kind === 'present' ? /^zerotier-one:[^:]*:(\d+):(\d+):/m.exec(passwd.text) : null;
  return line === null ? undefined : { uid: Number(line[1]), gid: Number(line[2]) };
}
