/**
 * Takes secrets out of text before anyone prints it. It errs on the side of hiding: a word too much is
 * harmless, a token in a log is not.
 */

const hidden = '(redacted)';

/** apiToken -> api-Token */
const dashed = (key: string) => key.replace(/([a-z])([A-Z])/g, '$1-$2');

/** Whether a key's name says that its value is a secret: token, agent-token, password, vpn-auth, … */
export function looksSecret(key: string): boolean {
  return /(^|[-_.])(token|authtoken|password|passphrase|passwd|secret|credentials?|auth|api-?key|private-?key|access-?key)($|[-_.])/i.test(
    dashed(key),
  );
}

/** Whether a key names a file that holds the secret, which may be shown. */
export function namesSecretFile(key: string): boolean {
  return /(^|[-_])(file|path)$/i.test(dashed(key));
}

const rules: readonly (readonly [RegExp, string])[] = [
  // k3s: K10<sha256 of the CA>::<user>:<password>, or cut short by whoever pasted it.
  [/K10[0-9a-f]{8,}[A-Za-z0-9]*(?:::[^\s"'`,;)\]}]*)?/gi, hidden],
  [/::(?:server|node):[^\s"'`,;)\]}]+/gi, hidden],
  [/\bK10[A-Za-z0-9]{6,}(?:::[^\s"'`,;)\]}]*)?/g, hidden],
  [/\bK10::?[^\s"'`,;)\]}]+/g, hidden],
  // kubeadm style bootstrap tokens, which k3s accepts too.
  [/\b[a-z0-9]{6}\.[a-z0-9]{16}\b/g, hidden],
  [/(x-zt1-auth["']?\s*[:=]\s*["']?)[^\s"',;]+/gi, `$1${hidden}`],
  [/(authorization["']?\s*[:=]\s*["']?(?:bearer|basic|token)\s+)[^\s"',;]+/gi, `$1${hidden}`],
  [/\b(bearer\s+)[A-Za-z0-9._~+/=-]{8,}/gi, `$1${hidden}`],
  [/(auth_?-?token(?:\.secret)?["']?\s*(?:[:=]|\bis\b)?\s*["']?)[a-z0-9]{24}\b/gi, `$1${hidden}`],
  [
    /([?&][a-z0-9_-]{0,40}(?:auth|token|password|secret|sig|signature|credential|key)=)[^\s&"']+/gi,
    `$1${hidden}`,
  ],
  [/\b([a-z][a-z0-9+.-]{0,20}:\/\/)[^\s/@"']+@/gi, `$1${hidden}@`],
  // `token: value`, `--agent-token=value`; a path, a mapping or a list is no secret.
  [
    /((?:^|[\s"'{,(-])[a-z0-9_-]{0,40}?(?:token|password|passphrase|passwd|secret|vpn-auth|api-?key)["']?\s*[=:]\s*)(?![\s/{[]|\(redacted\))(?:"[^"\n]*"|'[^'\n]*'|[^\s"',;}\]]+)/gi,
    `$1${hidden}`,
  ],
];

/** The text without k3s tokens, ZeroTier tokens, authorisation headers, passwords in URLs and values of secret keys. */
export function redactText(text: string): string {
  return rules.reduce((rest, [pattern, replacement]) => rest.replace(pattern, replacement), text);
}
