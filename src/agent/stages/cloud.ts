/** What the cloud's facts mean for the node: its external addresses, labels, taints, and its name among the cloud's instances. */
import type { Config } from '../../config/schema.ts';
import type { CloudFacts, CloudReading } from '../../systems/cloud/types.ts';
import type { Finding } from '../conditions.ts';
import { isFalse, isTrue, isUnknown } from './stage.ts';
import { meaningOf, type TagMeaning } from './tags.ts';

/**
 * The reading with what was told before in place of a silence: k3s must not be restarted without its external address only
 * because nobody answers just now. Facts that are stale already are not remembered; they may be another instance's.
 */
export function lastingReading(
  reading: CloudReading,
  remembered: CloudFacts | undefined,
): { readonly reading: CloudReading; readonly remember: CloudFacts | undefined } {
  switch (reading.kind) {
    case 'none':
      return { reading, remember: undefined };
    case 'unavailable':
      return remembered === undefined
        ? { reading, remember: undefined }
        : { reading: { kind: 'known', facts: remembered, stale: reading.error }, remember: remembered };
    case 'known':
      return { reading, remember: reading.stale === undefined ? reading.facts : remembered };
    default:
      return reading satisfies never;
  }
}

export function cloudFinding(wanted: Config['node'], reading: CloudReading): Finding {
  switch (reading.kind) {
    case 'none':
      return isTrue('NoCloud', 'no cloud is asked for facts (none detected, or node.cloud is none)');
    case 'unavailable':
      return isFalse(
        'NoAnswer',
        `the metadata service of ${reading.provider} does not answer: ${reading.error}`,
      );
    case 'known': {
      const { provider, instanceId, region } = reading.facts;
      const what = `${provider} instance ${instanceId}${region === undefined ? '' : ` in ${region}`}`;
      if (reading.stale !== undefined)
        return isUnknown('Stale', `${what}, from an earlier answer: ${reading.stale}`);
      if (reading.tagsError !== undefined)
        return isUnknown('TagsUnknown', `${what}; its tags are not known: ${reading.tagsError}`);
      const { skipped } = tagMeaning(wanted, reading);
      if (skipped.length > 0)
        return isTrue('TagsSkipped', `${what}; tags that are no labels or taints: ${shortList(skipped)}`);
      // Where the cloud does not tell, it is not that there is none.
      if (provider === 'oracle' && wanted.externalIp === 'auto' && reading.facts.publicIpv4 === undefined)
        return isTrue(
          'NoPublicAddress',
          `${what}; Oracle's metadata does not tell the public IPv4 address: set node.externalIp if the node has one`,
        );
      return isTrue('Known', what);
    }
    default:
      return reading satisfies never;
  }
}

/** Enough to mend the first ones. */
const shownTags = 5;

function shortList(skipped: readonly string[]): string {
  const more = skipped.length - shownTags;
  return [...skipped.slice(0, shownTags), ...(more > 0 ? [`and ${more} more`] : [])].join('; ');
}

/** The node's external addresses: from the config, or from the cloud, or none. */
export function externalIps(wanted: Config['node']['externalIp'], reading: CloudReading): readonly string[] {
  if (wanted === 'none') return [];
  if (wanted !== 'auto') return typeof wanted === 'string' ? [wanted] : wanted;
  if (reading.kind !== 'known') return [];
  return [reading.facts.publicIpv4, reading.facts.publicIpv6].filter((address) => address !== undefined);
}

/** Labels that the facts give; kubelet may set these on itself (NodeRestriction). */
export function factLabels(reading: CloudReading): Readonly<Record<string, string>> {
  if (reading.kind !== 'known') return {};
  const { region, zone, instanceType } = reading.facts;
  const labels: Record<string, string> = {};
  if (region !== undefined) labels['topology.kubernetes.io/region'] = region;
  if (zone !== undefined) labels['topology.kubernetes.io/zone'] = zone;
  if (instanceType !== undefined) labels['node.kubernetes.io/instance-type'] = instanceType;
  return labels;
}

/** What the tags say, where the config asks for tags. */
export function tagMeaning({ tags }: Config['node'], reading: CloudReading): TagMeaning {
  if (tags === undefined || reading.kind !== 'known') return { labels: {}, taints: [], skipped: [] };
  return meaningOf(reading.facts.tags ?? {}, tags.prefix);
}

/** Arguments of the kubelet that the facts give. */
export function factKubeletArgs({ providerId }: Config['node'], reading: CloudReading): readonly string[] {
  if (providerId === 'none' || reading.kind !== 'known' || reading.facts.providerId === undefined) return [];
  return [`provider-id=${reading.facts.providerId}`];
}
