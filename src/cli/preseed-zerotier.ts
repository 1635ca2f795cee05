/**
 * `mooring preseed-zerotier`: before zerotier-one starts the first time in a boot. A disk that was copied to another instance
 * loses the identity that is its original's; the interface blacklist is written into ZeroTier's local.conf, so that it never runs
 * without; and an identity that the config names is put in place. Works without a config of mooring.
 */
import { mergeLocalConf } from '../agent/render/local-conf.ts';
import { type Config, defaultInterfacePrefixBlacklist } from '../config/schema.ts';
import { secretPath } from '../config/secrets.ts';
import { SystemError } from '../systems/error.ts';
import { writeFileAtomic } from '../systems/files/atomic.ts';
import { loadJson, saveJson } from '../systems/files/json-file.ts';
import { readSecret } from '../systems/files/secret.ts';
import { forget, k3sTraces, zerotierTraces } from '../systems/instance/forget.ts';
import { isOtherInstance, parseInstance, readInstance } from '../systems/instance/instance.ts';
import { isController, parseIdentity, putIdentity } from '../systems/zerotier/identity.ts';
import { preseedLocalConf } from '../systems/zerotier/preseed.ts';
import { type CliContext, exitCode } from './context.ts';
import { loadConfig } from './load-config.ts';
import { paths } from './paths.ts';

export async function preseedZeroTier(context: CliContext): Promise<number> {
  const loaded = await loadConfig(context.configFile);
  const config = loaded.kind === 'none' ? undefined : loaded.config;
  const steps = [
    () => becomeAnother(context),
    // First, since ZeroTier counts as started once there is an identity.
    () => giveBlacklist(context, config),
    () => giveIdentity(context, config),
  ];
  let isFine = true;
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      context.complain(error.message);
      isFine = false;
    }
  }
  if (!isFine) return exitCode.notFine;
  // Until the next boot there is nothing more to do, unless somebody takes the identity away.
  await writeFileAtomic(paths.preseeded, '', { mode: 0o644 });
  return exitCode.fine;
}

/** The instance is noted beside the identity; on another one, everything that was the original's goes. */
async function becomeAnother(context: CliContext): Promise<void> {
  const before = parseInstance(await loadJson(paths.instance));
  const now = await readInstance();
  if (before !== undefined && isOtherInstance(before, now)) {
    if (await isController(paths.zerotierHome))
      throw new SystemError(
        'zerotier-is-controller',
        `this disk seems to be a copy, but ${paths.zerotierHome}/controller.d keeps networks as their controller: nothing is removed. If this is the original, rm ${paths.instance}`,
      );
    const removed = await forget({ ...zerotierTraces, ...k3sTraces });
    context.print(
      `this disk is a copy, on another instance (${now.instanceId ?? now.productUuid ?? now.machineId ?? 'unknown'}): removed ${removed.join(', ') || 'nothing'}`,
    );
  }
  const known = Object.fromEntries(Object.entries(now).filter(([, part]) => part !== undefined));
  await saveJson(paths.instance, { ...before, ...known });
}

async function giveIdentity(context: CliContext, config: Config | undefined): Promise<void> {
  const ref = config?.zerotier.identity;
  if (ref === undefined) return;
  const path = secretPath(ref, process.env['CREDENTIALS_DIRECTORY']);
  if (path === undefined)
    throw new SystemError(
      'secret-missing',
      'zerotier.identity: the credential was not passed on; add LoadCredential= to mooring-zerotier-preseed.service',
    );
  const identity = parseIdentity((await readSecret(path)).text);
  if (identity === undefined)
    throw new SystemError(
      'secret-malformed',
      `zerotier.identity: ${path} holds no ZeroTier identity; it must be what zerotier-idtool generate writes into identity.secret`,
    );
  const outcome = await putIdentity(paths.zerotierHome, identity);
  if (outcome.kind === 'other')
    throw new SystemError(
      'zerotier-other-identity',
      `zerotier.identity: ZeroTier has the identity ${outcome.address} already, so ${identity.address} is not put in place. To replace it: systemctl stop zerotier-one && rm ${paths.zerotierHome}/identity.* && systemctl start zerotier-one`,
    );
  context.print(`identity ${identity.address}: ${outcome.kind}`);
}

async function giveBlacklist(context: CliContext, config: Config | undefined): Promise<void> {
  const prefixes = config?.zerotier.interfacePrefixBlacklist ?? defaultInterfacePrefixBlacklist;
  const outcome = await preseedLocalConf({
    home: paths.zerotierHome,
    merge: (existing) => mergeLocalConf(existing, prefixes),
  });
  if (outcome.kind === 'invalid')
    throw new SystemError(
      'local-conf-invalid',
      `${paths.zerotierHome}/local.conf is left alone: ${outcome.error}`,
    );
  context.print(`local.conf: ${outcome.kind}`);
}
