/**
 * What an instance's tags say to the node: `<prefix>label-NAME` with a value is a label, `<prefix>taint-NAME` with `value:Effect` or `Effect`
 * a taint. Dashes, since they are what every cloud allows in a key.
 *
 * Always true here: whoever may set a tag cannot stop the node with it. What a kubelet would refuse is left out and told.
 */
import { isLabelKey, isLabelValue, isTaint } from '../../kubernetes/labels.ts';

/** What the tags mean. */
export interface TagMeaning {
  readonly labels: Readonly<Record<string, string>>;
  /** In kubectl's notation. */
  readonly taints: readonly string[];
  /** Tags that were left out, each with why, for a person. */
  readonly skipped: readonly string[];
}

/** Long enough to recognise a tag by, and nothing that ends a line. */
const show = (text: string) => JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);

/** Reads the tags whose key begins with `prefix`; others are nobody's business here. */
export function meaningOf(tags: Readonly<Record<string, string>>, prefix: string): TagMeaning {
  const labels: Record<string, string> = {};
  const taints: string[] = [];
  const skipped: string[] = [];
  for (const [key, value] of Object.entries(tags).sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (!key.startsWith(prefix)) continue;
    const [, kind, name] = /^(label|taint)-(.*)$/s.exec(key.slice(prefix.length)) ?? [];
    const skip = (why: string) => skipped.push(`${show(key)}: ${why}`);
    if (kind === undefined || name === undefined) {
      skip(`neither ${prefix}label-… nor ${prefix}taint-…`);
    } else if (!isLabelKey(name)) {
      skip('a kubelet may not set this key');
    } else if (kind === 'label') {
      if (isLabelValue(value)) labels[name] = value;
      else skip(`${show(value)} is no value of a label`);
    } else {
      const taint = value.includes(':') ? `${name}=${value}` : `${name}:${value}`;
      if (isTaint(taint)) taints.push(taint);
      else skip(`${show(value)} is neither value:Effect nor Effect`);
    }
  }
  return { labels, taints, skipped };
}

/** Key and effect, by which Kubernetes tells taints apart; a kubelet ends over two of the same. */
export function taintIdentity(taint: string): string {
  const [, key = '', effect = ''] = /^([^=:]*)(?:=[^:]*)?:(.*)$/.exec(taint) ?? [];
  return `${key}:${effect}`;
}
