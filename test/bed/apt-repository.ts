/**
 * A signed apt repository of one package, laid out as ZeroTier's own for Debian, so that an example which trusts nothing
 * but one key meets a real signature. The key is made for the run and goes with it.
 */
import { copyFile, mkdir, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { aptIndex } from './root.ts';
import type { Run } from './run.ts';

/** The suite whose packages the node takes. */
const suite = 'trixie';

/** Lays it out under `folder` and signs it; the key is `contact@zerotier.com.gpg`, armored as ZeroTier's is. */
export async function makeZeroTierRepository(run: Run, deb: string, folder: string): Promise<void> {
  const suiteDir = join(folder, 'debian', suite);
  const indexDir = join(suiteDir, 'dists', suite, 'main/binary-amd64');
  const pool = join(suiteDir, 'pool');
  await mkdir(indexDir, { recursive: true });
  await mkdir(pool, { recursive: true });
  await copyFile(deb, join(pool, basename(deb)));
  const index = (await aptIndex(pool)).replaceAll('Filename: ./', 'Filename: pool/');
  await writeFile(join(indexDir, 'Packages'), index);

  const home = join(run.dir, 'gnupg');
  await mkdir(home, { mode: 0o700 });
  // The index is named in the signed file by its hash, which apt checks before it reads the index.
  const script = `set -eu
    gpg() { command gpg --batch --quiet --pinentry-mode loopback --passphrase '' "$@"; }
    gpg --quick-generate-key 'stand-in for ZeroTier <bed@mooring.example>' ed25519 sign never
    gpg --armor --export >"$1/contact@zerotier.com.gpg"
    cd "$1/debian/${suite}/dists/${suite}"
    set -- $(sha256sum main/binary-amd64/Packages) $(stat -c %s main/binary-amd64/Packages)
    { echo "Codename: ${suite}"; echo 'Architectures: amd64 arm64 all'; echo 'Components: main'
      echo "Date: $(date -Ru)"; echo 'SHA256:'; echo " $1 $3 $2"; } | gpg --clearsign >InRelease
    gpgconf --kill gpg-agent`;
  const env = { GNUPGHOME: home, LC_ALL: 'C' };
  await run.run(['sh', '-c', script, 'sign', folder], { part: 'setup', env });
  await rm(home, { recursive: true });
}
