/**
 * The limits of new connections per client. They are in force when the unit's copy of what nft took is what is wanted. Whatever goes
 * wrong with them is told and shuts no door.
 */
import { type Action, actionKey } from '../actions.ts';
import { mayTry } from '../attempts.ts';
import type { Finding } from '../conditions.ts';
import { cleared } from '../memory.ts';
import { renderLimits } from '../render/nft-limits.ts';
import { listensOf } from '../render/nginx-listens.ts';
import type { ServedEntry } from '../upstreams.ts';
import { wantedConf } from './ingress-conf.ts';
import { isFalse, isTrue, type StageInput, type StageResult } from './stage.ts';

type Result = StageResult & { readonly findings: { readonly IngressLimited: Finding } };

const remove: Action = { do: 'limits.remove' };

/** `entries` are those that nginx serves: where it does not listen, there is nothing to limit. */
export function limitsStage(
  { config, world, memory, now }: StageInput,
  entries: readonly ServedEntry[],
): Result {
  const answer = (finding: Finding, actions: readonly Action[] = [], next = memory): Result => ({
    actions,
    memory: next,
    wakeAtMs: actions.length > 0 ? now.monoMs + 1_000 : undefined,
    findings: { IngressLimited: finding },
  });
  const due = (action: Action) => (mayTry(memory.attempts[actionKey(action)], now.monoMs) ? [action] : []);
  const { installed, loaded } = world.limits;
  // Where none is wanted, nothing need be rendered for it in every pass.
  const isWanted = config.ingress.some((entry) => entry.newConnectionsPerClient !== undefined);
  const listens = isWanted ? listensOf(wantedConf({ config, world, memory }, entries).text) : [];
  const text = renderLimits(config.ingress, listens);
  if (text === undefined) {
    const isGone = loaded.kind === 'absent';
    const finding = isTrue('NotWanted', 'no entry has newConnectionsPerClient');
    return answer(finding, isGone ? [] : due(remove), isGone ? cleared(memory, [actionKey(remove)]) : memory);
  }
  if (!installed)
    return answer(
      isFalse('NftablesMissing', 'nft is missing, so new connections are not limited: apt install nftables'),
    );
  if (loaded.kind === 'present' && loaded.text === text) {
    const names = config.ingress.flatMap((entry) =>
      entry.newConnectionsPerClient === undefined ? [] : [entry.name],
    );
    const finding = isTrue('InForce', `new connections per client are limited at ${names.join(', ')}`);
    return answer(finding, [], cleared(memory, ['limits.load', actionKey(remove)]));
  }
  const load: Action = { do: 'limits.load', text };
  const error = memory.attempts[actionKey(load)]?.error;
  const still = loaded.kind === 'present' ? 'the former limits stay in force' : 'no limit is in force';
  const finding =
    error === undefined
      ? isFalse('Loading', 'the limits of new connections are being loaded')
      : isFalse('NotLoaded', `${error}; ${still}`);
  return answer(finding, due(load));
}
