/** The part of the config's schema that pins a k3s by its version and hash. */
import * as z from 'zod/mini';
import { isImagesUrl, isUrlTemplate } from './url-template.ts';
import { durationFrom, sha256, text } from './values.ts';

/** Hashes by architecture; which one a machine needs is known on the machine alone. */
const hashes = z.strictObject({ amd64: z.optional(sha256), arm64: z.optional(sha256) });

/** `k3s.install`. */
export const k3sInstallSchema = z.strictObject({
  version: text('a k3s version as its releases are named, such as v1.36.3+k3s1', (v) =>
    /^v\d{1,4}(\.\d{1,4}){2}([-+][A-Za-z0-9][A-Za-z0-9.-]{0,40}){0,2}$/.test(v),
  ),
  sha256: hashes,
  url: z._default(
    text(
      'an http(s) URL, where {version}, {arch} and {file} are filled in; no user, query or fragment',
      isUrlTemplate,
    ),
    'https://github.com/k3s-io/k3s/releases/download/{version}/{file}',
  ),
  images: z.optional(
    z.strictObject({
      sha256: hashes,
      url: z._default(
        text(
          'an http(s) URL as k3s.install.url that ends in .tar, .tar.gz, .tgz, .tar.zst, .tar.bz2 or .tar.lz4',
          isImagesUrl,
        ),
        'https://github.com/k3s-io/k3s/releases/download/{version}/k3s-airgap-images-{arch}.tar.zst',
      ),
    }),
  ),
  stall: z.prefault(durationFrom('5s', '10m'), '1m'),
});
