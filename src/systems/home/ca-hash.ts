/** The hash by which a k3s token names the cluster's CA, computed as k3s does (its pkg/clientaccess/token.go). */
import { createHash, X509Certificate } from 'node:crypto';

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** A chain longer than this is none. */
const maxDepth = 8;

/** The certificates of a PEM bundle, in its order. Throws where one is damaged. */
export function certificatesOf(bundle: Buffer): readonly X509Certificate[] {
  const blocks =
    bundle.toString('latin1').match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}

/**
 * The hash of a CA bundle: of a single certificate the bytes of the file, of several the root's DER, so that the CAs below
 * it can be renewed. Undefined where it holds no certificate.
 */
export function caHash(bundle: Buffer): string | undefined {
  let certificates: readonly X509Certificate[];
  try {
    certificates = certificatesOf(bundle);
  } catch {
    return undefined;
  }
  const [first, ...others] = certificates;
  if (first === undefined) return undefined;
  const root = others.length === 0 ? undefined : rootOf(first, others);
  return sha256(root?.raw ?? bundle);
}

function rootOf(first: X509Certificate, others: readonly X509Certificate[]): X509Certificate | undefined {
  let current = first;
  for (let depth = 0; depth < maxDepth; depth += 1) {
    const below = current;
    const issuer = others.find((other) => below.checkIssued(other) && below.verify(other.publicKey));
    if (issuer === undefined) return undefined;
    if (issuer.checkIssued(issuer)) return issuer;
    current = issuer;
  }
  return undefined;
}

/**
 * The CA's hash in a token of the form `K10<hash>::<credentials>`. Undefined where it names none. What stands there is given
 * as it is: it is compared, never shown.
 */
export function tokenCaHash(token: string): string | undefined {
  if (!token.startsWith('K10') || !token.includes('::')) return undefined;
  return token.slice('K10'.length).split('::')[0] || undefined;
}
