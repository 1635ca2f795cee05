/** Addresses of ingress entries that clash: within one entry, and of two at the same port. */
import { problemAt } from './issues.ts';
import type { Problem } from './problem.ts';
import type { Config } from './schema.ts';
import type { Tree } from './tree.ts';

type Choices = readonly string[];

/** Problems of each entry with itself, and with those before it. */
export function addressProblems({ ingress }: Pick<Config, 'ingress'>, root: Tree): Problem[] {
  return ingress.flatMap(({ listen, protocol, addresses }, i) => {
    const at = (key: string, allowed: string, advice: string) =>
      problemAt(root, ['ingress', i, key], allowed, advice);
    const problems: Problem[] = [];
    const repeated = addresses.find((one, index) => addresses.indexOf(one) !== index);
    if (repeated !== undefined) problems.push(at('addresses', 'each once', `remove one ${repeated}`));
    const covered = addresses.find((one) => addresses.includes('all') && one !== 'all' && one !== 'zerotier');
    if (covered !== undefined)
      problems.push(
        at(
          'addresses',
          'all, alone or with zerotier',
          `remove ${covered}, which all has already, or remove all`,
        ),
      );
    const other = ingress.findIndex(
      (one, index) =>
        index < i && one.listen === listen && one.protocol === protocol && overlap(one.addresses, addresses),
    );
    if (other === -1) return problems;
    const door = `${protocol} ${listen}`;
    const areBothAll = [addresses, ingress[other]?.addresses].every((choices) => choices?.includes('all'));
    return [
      ...problems,
      areBothAll
        ? at(
            'listen',
            'each port once per protocol',
            `ingress[${other}] has ${door} already; put both upstreams there, or take another port`,
          )
        : at(
            'addresses',
            'each address once per port and protocol',
            `ingress[${other}] has ${door} at ${ingress[other]?.addresses.join(', ')}; take other addresses, or another port`,
          ),
    ];
  });
}

/** `all` is without ZeroTier's addresses; an address that is named is taken from what default-route or zerotier of another entry means. */
function overlap(one: Choices, other: Choices): boolean {
  return one.some((left) =>
    other.some(
      (right) =>
        left === right ||
        (left === 'all' && right !== 'zerotier') ||
        (right === 'all' && left !== 'zerotier'),
    ),
  );
}
