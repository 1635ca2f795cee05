/** Where a secret's file is. Computes paths only; whoever reads the file owns its contents. */
import { isAbsolute, join, normalize } from 'node:path';
import type { Config, SecretRef } from './schema.ts';

/**
 * The path to read a secret from, or undefined where it cannot exist: a credential while systemd passes none, or a
 * reference that would lead out of its folder (the schema refuses those; this holds without it, too).
 * @param credentialsDirectory `$CREDENTIALS_DIRECTORY` as systemd sets it (systemd.exec(5))
 */
export function secretPath(ref: SecretRef, credentialsDirectory: string | undefined): string | undefined {
  if ('file' in ref) {
    const isPlain = isAbsolute(ref.file) && normalize(ref.file) === ref.file && !ref.file.includes('\0');
    return isPlain ? ref.file : undefined;
  }
  const isName = /^[A-Za-z0-9._-]{1,255}$/.test(ref.credential) && !/^\.{1,2}$/.test(ref.credential);
  if (!isName || credentialsDirectory === undefined || !isAbsolute(credentialsDirectory)) return undefined;
  return join(credentialsDirectory, ref.credential);
}

/** The files that hold secrets by this config. Credentials are not among them: systemd keeps those. */
export function secretFiles({ k3s, zerotier }: Config): readonly string[] {
  const refs = [k3s.token, zerotier.identity, zerotier.authorize?.token];
  return refs.flatMap((ref) => (ref !== undefined && 'file' in ref ? [ref.file] : []));
}
