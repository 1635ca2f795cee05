/** Certificates for tests, made by openssl: a CA, and servers below it. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A key and its certificate, in PEM. */
export interface Identity {
  readonly key: string;
  readonly cert: string;
}

/** Makes one, signed by `issuer`, or by itself. `san` as openssl writes it, such as `IP:127.0.0.1`; none makes a CA. */
export function identity(name: string, issuer?: Identity, san?: string, days = 1): Identity {
  const folder = mkdtempSync(join(tmpdir(), 'mooring-certificate-'));
  const file = (one: string, text?: string) => {
    if (text !== undefined) writeFileSync(join(folder, one), text);
    return join(folder, one);
  };
  try {
    const extensions = san === undefined ? ['basicConstraints=critical,CA:TRUE'] : [`subjectAltName=${san}`];
    const signing =
      issuer === undefined ? [] : ['-CA', file('ca.crt', issuer.cert), '-CAkey', file('ca.key', issuer.key)];
    execFileSync(
      'openssl',
      [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-noenc'],
        ...['-subj', `/CN=${name}`, '-days', String(days)],
        ...['-config', file('empty.cnf', '[req]\ndistinguished_name=dn\n[dn]\n')],
        ...['-keyout', file('key'), '-out', file('cert'), ...signing],
        ...extensions.flatMap((extension) => ['-addext', extension]),
      ],
      { stdio: ['ignore', 'ignore', 'pipe'], timeout: 10_000 },
    );
    return { key: readFileSync(file('key'), 'utf8'), cert: readFileSync(file('cert'), 'utf8') };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
