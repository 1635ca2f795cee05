/**
 * What counts as a fact. Metadata may be anybody's words (a hostile network, a damaged cache), and facts end up in YAML, labels
 * and addresses, so each has to look like what it claims to be.
 */
import { isIPv4, isIPv6 } from 'node:net';
import * as z from 'zod/mini';
import { canonicalAddress } from '../ip-text.ts';
import type { CloudFacts } from './types.ts';

/** Fits a Kubernetes label value, as regions, zones and instance types all do. */
const token = z.string().check(z.regex(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/));
/** Oracle's are longer than a label's value. */
const instanceId = z.string().check(z.regex(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,253}[A-Za-z0-9])?$/));
/** A scheme, and a path of plain words: nothing that kubelet's command line or YAML could take for something else. */
const providerId = z.string().check(z.regex(/^[a-z]+:\/\/[A-Za-z0-9._()/-]{1,1024}$/));
const noControl = z.string().check(z.regex(/^\P{Cc}*$/u), z.maxLength(256));

/** Whether `text` may be an instance id. */
export const isInstanceId = (text: string): boolean => instanceId.safeParse(text).success;

const publicAddress = (isFamily: (text: string) => boolean) =>
  z.pipe(
    z.string().check(z.refine(isFamily), z.regex(/^[0-9a-fA-F.:]+$/)),
    z.transform((text) => canonicalAddress(text)),
  );

const facts = z.object({
  provider: z.enum(['aws', 'azure', 'gcp', 'digitalocean', 'hetzner', 'oracle']),
  instanceId,
  instanceType: z.optional(token),
  region: z.optional(token),
  zone: z.optional(token),
  publicIpv4: z.optional(publicAddress(isIPv4)),
  publicIpv6: z.optional(publicAddress(isIPv6)),
  providerId: z.optional(providerId),
  tags: z.optional(z.record(noControl, noControl).check(z.refine((tags) => Object.keys(tags).length <= 64))),
});

/** The facts, or which field is none. */
export function checkFacts(
  value: unknown,
):
  | { readonly kind: 'valid'; readonly facts: CloudFacts }
  | { readonly kind: 'invalid'; readonly field: string } {
  const result = facts.safeParse(value);
  if (!result.success) {
    return { kind: 'invalid', field: String(result.error.issues[0]?.path[0] ?? 'answer') };
  }
  const { provider, instanceType, region, zone, publicIpv4, publicIpv6, tags } = result.data;
  return {
    kind: 'valid',
    facts: {
      provider,
      instanceId: result.data.instanceId,
      instanceType,
      region,
      zone,
      publicIpv4,
      publicIpv6,
      providerId: result.data.providerId,
      tags,
    },
  };
}
