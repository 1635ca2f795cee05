/** URLs with `{version}`, `{arch}` and `{file}` in them. */

/** What the placeholders stand for, not yet encoded. */
export interface UrlValues {
  readonly version: string;
  readonly arch: string;
  /** The binary's name in k3s' releases. */
  readonly file: string;
}

/** How k3s' releases name the binary of an architecture (`amd64`, `arm64`). */
export const k3sFileName = (arch: string): string => (arch === 'amd64' ? 'k3s' : `k3s-${arch}`);

/** The URL of these values. */
export function expandUrl(template: string, values: UrlValues): string {
  return template.replace(/\{(version|arch|file)\}/g, (_, name: keyof UrlValues) =>
    encodeURIComponent(values[name]),
  );
}

const sample: UrlValues = { version: 'v1.36.3+k3s1', arch: 'arm64', file: 'k3s-arm64' };

/**
 * Whether it is http(s), and has nothing that could be a secret: no user, password, query or fragment. Braces stand for
 * nothing but the three values.
 */
export function isUrlTemplate(template: string): boolean {
  const url = expandUrl(template, sample);
  if (/[{}\s\p{Cc}]/u.test(url) || template.length > 2048 || !URL.canParse(url)) return false;
  const { protocol, username, password, search, hash, pathname } = new URL(url);
  if (protocol !== 'https:' && protocol !== 'http:') return false;
  return `${username}${password}${search}${hash}` === '' && !/[?#]/.test(url) && !/%(2f|00)/i.test(pathname);
}

/** The last part of a URL's path ends as k3s takes image tarballs (docs.k3s.io, "Import Images"). */
export function isImagesUrl(template: string): boolean {
  // Plain, since it becomes the name of a file.
  const name = /\/[A-Za-z0-9{][A-Za-z0-9._{}+-]*\.(tar|tar\.gz|tgz|tar\.zst|tar\.bz2|tar\.lz4)$/;
  return isUrlTemplate(template) && name.test(template);
}
