/**
 * The two kinds of controllers: where a member is found, how it is asked for, and what an answer means. Unknown extra fields
 * are let through; a field that is missing or of a wrong type is an error naming it.
 * Sources: ZeroTier Central's API description (docs.zerotier.com/openapi/central/v1.json); the local API of a controller as
 * zerotier-one 1.14.1 answers it.
 */
import * as z from 'zod/mini';
import { SystemError } from '../error.ts';
import { canonicalAddress } from '../ip-text.ts';
import type { Member, MemberChange } from './types.ts';

/** What differs between ZeroTier Central and a controller's local API. */
export interface Dialect {
  /** For a person. */
  readonly name: string;
  readonly networkUrl: (networkId: string) => string;
  readonly memberUrl: (networkId: string, address: string) => string;
  readonly headers: (token: string) => Readonly<Record<string, string>>;
  readonly body: (change: MemberChange) => Readonly<Record<string, unknown>>;
  /** Throws SystemError `controller-unexpected`, also where the answer is about somebody else. */
  readonly decode: (text: string, address: string) => Told;
}

/** A member as its controller tells it. */
export type Told = Omit<Member, 'hasLeft'>;

const time = z._default(z.nullable(z.number()), 0);
const settings = z.object({
  authorized: z.boolean(),
  ipAssignments: z._default(z.nullable(z.array(z.string())), []),
  noAutoAssignIps: z._default(z.nullable(z.boolean()), false),
  lastAuthorizedTime: time,
  lastDeauthorizedTime: time,
});
const centralAnswer = z.object({
  nodeId: z.string(),
  name: z._default(z.nullable(z.string()), ''),
  config: settings,
});
const localAnswer = z.extend(settings, { address: z.optional(z.string()), id: z.optional(z.string()) });

/** ZeroTier Central, or what stands at `baseUrl` for it. */
export function centralDialect(baseUrl = 'https://api.zerotier.com/api/v1'): Dialect {
  const networkUrl = (networkId: string) => `${baseUrl}/network/${networkId}`;
  return {
    name: 'ZeroTier Central',
    networkUrl,
    memberUrl: (networkId, address) => `${networkUrl(networkId)}/member/${address}`,
    headers: (token) => ({ Authorization: `token ${token}` }),
    body: ({ name, description, ...rest }) => ({
      ...(name === undefined ? {} : { name }),
      ...(description === undefined ? {} : { description }),
      config: settingsOf(rest),
    }),
    decode(text, address) {
      const { nodeId, name, config } = parse(centralAnswer, text);
      return memberOf(config, nodeId, address, name ?? '');
    },
  };
}

/** A self-hosted controller's own API. It keeps no names. */
export function localDialect(controllerUrl: string): Dialect {
  const networkUrl = (networkId: string) =>
    `${controllerUrl.replace(/\/+$/, '')}/controller/network/${networkId}`;
  return {
    name: 'the controller',
    networkUrl,
    memberUrl: (networkId, address) => `${networkUrl(networkId)}/member/${address}`,
    headers: (token) => ({ 'X-ZT1-Auth': token }),
    body: settingsOf,
    decode(text, address) {
      const answer = parse(localAnswer, text);
      return memberOf(answer, answer.address ?? answer.id ?? '', address, undefined);
    },
  };
}

function settingsOf({ authorized, addresses }: MemberChange): Readonly<Record<string, unknown>> {
  return {
    ...(authorized === undefined ? {} : { authorized }),
    ...(addresses === undefined ? {} : { ipAssignments: addresses, noAutoAssignIps: true }),
  };
}

function memberOf(
  raw: z.infer<typeof settings>,
  toldAddress: string,
  address: string,
  name: string | undefined,
): Told {
  if (toldAddress.toLowerCase() !== address)
    throw new SystemError('controller-unexpected', 'its answer is about another member');
  return {
    authorized: raw.authorized,
    lastAuthorizedMs: raw.lastAuthorizedTime ?? 0,
    lastDeauthorizedMs: raw.lastDeauthorizedTime ?? 0,
    name,
    addresses: (raw.ipAssignments ?? []).flatMap((text) => canonicalAddress(text) ?? []).sort(),
    noAutoAssignIps: raw.noAutoAssignIps ?? false,
  };
}

function parse<T extends z.ZodMiniType>(schema: T, text: string): z.infer<T> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new SystemError('controller-unexpected', 'its answer is no JSON', { cause: error });
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const field = result.error.issues[0]?.path.map(String).join('.') ?? '';
  throw new SystemError(
    'controller-unexpected',
    `its answer ${field === '' ? 'has an unexpected shape' : `lacks a valid "${field}"`}`,
  );
}
