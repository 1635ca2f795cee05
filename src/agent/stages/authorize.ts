/**
 * Part of stage `zerotier`: this node's own authorisation at its network's controller, where the config allows it.
 *
 * Always true here: a person wins. Only a member that was never authorised is authorised; one that was let in before, by what
 * this node was once told or by the controller's own record, and is not now, was shut out by somebody, and waits for a person.
 * The controller is asked only while the node is not let in, and once after each start of mooring about name and addresses.
 */
import type { Member, MemberChange } from '../../systems/controller/types.ts';
import type { ZeroTierNetwork } from '../../systems/zerotier/types.ts';
import { type Action, actionKey } from '../actions.ts';
import { mayTry } from '../attempts.ts';
import type { Finding } from '../conditions.ts';
import { cleared, type Memory } from '../memory.ts';
import { wantedNodeName } from './k3s-wanted.ts';
import { isFalse, type StageInput } from './stage.ts';

/** An answer this young is acted upon without asking again: a person may decide in between. */
const actUponMs = 10_000;
/** How long ZeroTier has to hear that it is let in, which it asks for every 5 s, before the controller is asked again. */
const hearMs = 60_000;
/** How often name and addresses of a member that is let in are tried to be set: they are no reason to go on for ever. */
const triesWhileIn = 3;
/** How long an answer stands before it is doubted because the interface has other addresses. */
const doubtMs = 600_000;

export interface Authorization {
  readonly actions: readonly Action[];
  readonly memory: Memory;
  /** In place of what the network's status alone tells. */
  readonly finding: Finding | undefined;
}

interface Asked {
  readonly network: ZeroTierNetwork;
  /** This node's address, 10 hex digits. */
  readonly member: string;
}

/** What there is to do about one joined network; nothing unless `zerotier.authorize` is set. */
export function authorization(input: StageInput, { network, member }: Asked): Authorization {
  const isOut = network.status === 'ACCESS_DENIED' || network.status === 'REQUESTING_CONFIGURATION';
  if (input.config.zerotier.authorize === undefined || !(isOut || network.status === 'OK'))
    return { actions: [], memory: input.memory, finding: undefined };
  return isOut ? letIn(input, { network, member }) : keptUp(input, { network, member });
}

function letIn(input: StageInput, { network, member }: Asked): Authorization {
  const { world, memory, now } = input;
  const { id } = network;
  const isDenied = network.status === 'ACCESS_DENIED';
  const told = (actions: readonly Action[], finding: Finding): Authorization => ({
    actions: actions.filter((action) => isDue(input, action)),
    memory,
    // While ZeroTier still asks, what it says of itself is the better news.
    finding: isDenied ? finding : undefined,
  });
  const known = world.controller.members[id];
  const wasLetIn =
    (isDenied && memory.networks[id]?.configured === true) ||
    (known?.kind === 'known' && !known.member.authorized && wasEverTouched(known.member));
  if (wasLetIn)
    return told(
      [],
      isFalse(
        'Deauthorized',
        `somebody took the authorisation of member ${member} on network ${id} away, and mooring leaves it so: authorise it at the network's controller to let it back in`,
      ),
    );
  const look: Action = { do: 'controller.look', network: id, member };
  const ageMs = known === undefined ? Number.POSITIVE_INFINITY : now.monoMs - known.atMs;
  const isKnownIn = known?.kind === 'known' && known.member.authorized;
  if (isKnownIn && ageMs < hearMs)
    return told(
      [],
      isFalse('Authorizing', `member ${member} is authorised on network ${id}; ZeroTier hears of it in 5 s`),
    );
  const change: MemberChange = { authorized: true, ...details(input, id), ...description(input) };
  const authorize: Action = { do: 'controller.authorize', network: id, member, change };
  const finding = trouble(input, id, member);
  if (known !== undefined && !isKnownIn && ageMs < actUponMs) return told([authorize], finding);
  // Nothing is asked for that could not be acted upon.
  return told(isKnownIn || isDue(input, authorize) ? [look] : [], finding);
}

/** Somebody has decided about this member before, and not the node itself when it left. */
function wasEverTouched({ hasLeft, lastAuthorizedMs, lastDeauthorizedMs }: Member): boolean {
  return !hasLeft && (lastAuthorizedMs > 0 || lastDeauthorizedMs > 0);
}

/** A member that is let in: its name and its addresses. */
function keptUp(input: StageInput, { network, member }: Asked): Authorization {
  const { world, now } = input;
  const { id } = network;
  const look: Action = { do: 'controller.look', network: id, member };
  const known = world.controller.members[id];
  const wanted = details(input, id);
  const lacks = (wanted.addresses ?? []).some(
    (address) => !network.assignedAddresses.some((cidr) => cidr.split('/')[0] === address),
  );
  const isDoubtful = known !== undefined && lacks && now.monoMs - known.atMs >= doubtMs;
  const isOpen = known?.kind !== 'known' || isDoubtful;
  const change = known?.kind === 'known' ? difference(known.member, wanted) : undefined;
  const keys = [look, { ...look, do: 'controller.authorize' as const, change: {} }].map(actionKey);
  if (!isOpen && change === undefined)
    return { actions: [], memory: cleared(input.memory, keys), finding: undefined };
  const action: Action =
    isOpen || change === undefined ? look : { do: 'controller.authorize', network: id, member, change };
  const tries = input.memory.attempts[actionKey(action)]?.count ?? 0;
  const actions = tries < triesWhileIn && isDue(input, action) ? [action] : [];
  return { actions, memory: input.memory, finding: undefined };
}

/** Whether its backoff is over, and the controller did not ask for quiet. */
function isDue({ world, memory, now }: StageInput, action: Action): boolean {
  const { quietUntilMs } = world.controller;
  const isQuiet = quietUntilMs !== undefined && now.monoMs < quietUntilMs;
  return !isQuiet && mayTry(memory.attempts[actionKey(action)], now.monoMs);
}

/** Name and addresses as the config has them; a controller without names is not given one. */
function details(input: StageInput, networkId: string): MemberChange {
  const { authorize, networks } = input.config.zerotier;
  const addresses = networks.find(({ id }) => id === networkId)?.addresses;
  const name = authorize?.name === 'auto' ? wantedNodeName(input) : (authorize?.name ?? '');
  return {
    ...(authorize?.controller !== 'central' || name === '' ? {} : { name }),
    ...(addresses === undefined ? {} : { addresses: [...new Set(addresses)].sort() }),
  };
}

/** Who let it in, where and when; written at that moment alone. */
function description({ config, world, now }: StageInput): MemberChange {
  const { authorize } = config.zerotier;
  if (authorize?.controller !== 'central' || authorize.description === '') return {};
  if (authorize.description !== 'auto') return { description: authorize.description };
  const day = new Date(now.wallMs).toISOString().slice(0, 10);
  const facts = world.cloud.kind === 'known' ? world.cloud.facts : undefined;
  const where =
    facts === undefined
      ? ''
      : `, ${[facts.provider, facts.zone, facts.instanceId].filter(Boolean).join(' ')}`;
  return { description: `authorised by mooring ${day}${where}` };
}

/** What of `wanted` the member lacks; undefined where nothing. */
function difference(member: Member, { name, addresses }: MemberChange): MemberChange | undefined {
  const otherName = name !== undefined && member.name !== undefined && member.name !== name;
  const otherAddresses =
    addresses !== undefined && (addresses.join() !== member.addresses.join() || !member.noAutoAssignIps);
  if (!otherName && !otherAddresses) return undefined;
  return { ...(otherName ? { name } : {}), ...(otherAddresses ? { addresses } : {}) };
}

/** Why it is not authorised yet, and what a person can do. */
function trouble(input: StageInput, id: string, member: string): Finding {
  const { attempts } = input.memory;
  const tried = [attempts[`controller.authorize:${id}`], attempts[`controller.look:${id}`]];
  const failed = tried.find((attempt) => attempt?.error !== undefined);
  const byHand = `or authorise member ${member} by hand`;
  const where =
    input.config.zerotier.authorize?.controller === 'central' ? 'ZeroTier Central' : 'the controller';
  switch (failed?.code) {
    case undefined:
      return isFalse('Authorizing', `asking ${where} to authorise member ${member} on network ${id}`);
    case 'controller-no-token':
      return isFalse(
        'AuthorizeNoToken',
        `mooring may authorise this node on network ${id}, but has no token for it: ${failed?.error}; mend zerotier.authorize.token, ${byHand}`,
      );
    case 'controller-refused':
      return isFalse(
        'AuthorizeRefused',
        `${where} does not let mooring authorise this node: ${failed?.error}; put a token that may change network ${id} where zerotier.authorize.token says, ${byHand}`,
      );
    case 'controller-not-found':
      return isFalse(
        'AuthorizeNotFound',
        `${where} cannot authorise this node: ${failed?.error}; check zerotier.authorize.controller, the id, and whose token it is, ${byHand}`,
      );
    default:
      return isFalse(
        'AuthorizeFailed',
        `${where} could not be asked to authorise this node on network ${id}: ${failed?.error}; it is tried again, ${byHand}`,
      );
  }
}
