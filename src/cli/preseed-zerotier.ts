/**
 * `mooring preseed-zerotier`: before zerotier-one's first start, writes the interface blacklist into its local.conf, so
 * that it never runs without. Later changes go through ZeroTier's own API. Works without a config of mooring.
 */
import { mergeLocalConf } from '../agent/render/local-conf.ts';
import { defaultInterfacePrefixBlacklist } from '../config/schema.ts';
import { messageOf } from '../systems/error.ts';
import { preseedLocalConf } from '../systems/zerotier/preseed.ts';
import { type CliContext, exitCode } from './context.ts';
import { loadConfig } from './load-config.ts';
import { paths } from './paths.ts';

export async function preseedZeroTier(context: CliContext): Promise<number> {
  const loaded = await loadConfig(context.configFile);
  const prefixes =
    loaded.kind === 'none'
      ? defaultInterfacePrefixBlacklist
      : loaded.config.zerotier.interfacePrefixBlacklist;
  try {
    const outcome = await preseedLocalConf({
      home: paths.zerotierHome,
      merge: (existing) => mergeLocalConf(existing, prefixes),
    });
    if (outcome.kind === 'invalid') {
      context.complain(`${paths.zerotierHome}/local.conf is left alone: ${outcome.error}`);
      return exitCode.notFine;
    }
    context.print(`local.conf: ${outcome.kind}`);
    return exitCode.fine;
  } catch (error) {
    context.complain(messageOf(error));
    return exitCode.notFine;
  }
}
