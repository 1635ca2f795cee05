/** Ways to break the daemon on purpose, to see that the simulation notices. */
import type { Action } from '../../src/agent/actions.ts';
import type { Memory } from '../../src/agent/memory.ts';
import type { World } from '../../src/agent/world.ts';
import type { SimNode } from './node.ts';

export interface Sabotage {
  readonly name: string;
  /** The violation by which it has to be caught. */
  readonly by?: RegExp;
  /** Changes what the brain sees. */
  readonly observe?: (world: World, node: SimNode) => World;
  /** Changes what the brain remembers between two daemons. */
  readonly load?: (saved: Memory | undefined) => Memory | undefined;
  /** Changes the config that the brain is given; the invariants keep to the true one. */
  readonly restart?: Readonly<Record<string, string>>;
  /** As `restart`, for the repairs of ZeroTier. */
  readonly repair?: Readonly<Record<string, string | boolean>>;
  /** Swallows wake-ups. */
  readonly deaf?: boolean;
  /** Changes a plan's action before it is carried out; undefined swallows it. */
  readonly act?: (action: Action) => Action | undefined;
  /** Done beside each action. */
  readonly beside?: (action: Action) => Action | undefined;
  /** Done at each wake-up. */
  readonly woken?: () => Action;
  /** Sets no match rules on a second connection to the bus. */
  readonly forgetsMatches?: boolean;
  /** The unit of k3s has no ExecCondition=. */
  readonly unconditional?: boolean;
}
