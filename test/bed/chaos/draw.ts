/** What a seed draws: a deck of all faults, shuffled anew each time it is used up, so that none is forgotten. */
import { type Random, seeded } from '../../support/random.ts';
import { type Fault, faults } from './faults.ts';

/** One fault, or two at a time, and how long they go on once they took effect. */
export interface Round {
  readonly faults: readonly [Fault, ...Fault[]];
  readonly lastsMs: number;
}

export interface DrawOptions {
  readonly seed: number;
  /** A fault lasts one of these; ms. */
  readonly spansMs: readonly [number, ...number[]];
  /** Takes faults out of the deck. */
  readonly isLeftOut?: (fault: Fault) => boolean;
}

/** How many of the rounds have two faults, where the next of the deck touches something else. */
const pairs = 0.25;

/** Rounds without end. The same options draw the same ones. */
export function* draw(options: DrawOptions): Generator<Round, never> {
  const random = seeded(options.seed);
  const usable = faults.filter((fault) => options.isLeftOut?.(fault) !== true);
  let deck: Fault[] = [];
  while (true) {
    if (deck.length === 0) deck = shuffled(usable, random);
    const first = deck.pop();
    if (first === undefined) throw new Error('every fault is left out');
    const isPair = random.chance(pairs);
    const lastsMs = random.pick(options.spansMs);
    const next = deck.at(-1);
    if (!isPair || next === undefined || first.touches.some((part) => next.touches.includes(part))) {
      yield { faults: [first], lastsMs };
      continue;
    }
    deck.pop();
    yield { faults: [first, next], lastsMs };
  }
}

/** Fisher and Yates. */
function shuffled<T>(items: readonly T[], random: Random): T[] {
  const deck = [...items];
  for (let at = deck.length - 1; at > 0; at -= 1) {
    const other = random.between(0, at);
    const held = deck[at];
    const swapped = deck[other];
    if (held === undefined || swapped === undefined) continue;
    deck[at] = swapped;
    deck[other] = held;
  }
  return deck;
}
