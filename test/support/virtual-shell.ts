/** A shell for the loop with a virtual clock: time passes only when the loop sleeps or a test lets it. */
import type { Action, Outcome } from '../../src/agent/actions.ts';
import type { PassFacts, Shell } from '../../src/agent/loop.ts';
import type { Memory } from '../../src/agent/memory.ts';
import type { Plan } from '../../src/agent/plan.ts';
import type { World } from '../../src/agent/world.ts';
import type { Config } from '../../src/config/schema.ts';
import type { LinksReading } from '../../src/systems/netlink/types.ts';
import { aConfig, at } from './world.ts';

export interface VirtualShell extends Shell {
  nowMs: number;
  readonly applied: Action[];
  readonly saved: Memory[];
  readonly published: { result: Plan; world: World; pass: PassFacts }[];
  readonly logged: string[];
}

/** `observe` and `apply` are the test's; the other parts record. */
export function virtualShell(parts: {
  readonly observe: (shell: VirtualShell) => World | Promise<World>;
  readonly glance?: () => LinksReading;
  readonly apply?: (action: Action, shell: VirtualShell) => Outcome | Promise<Outcome>;
  readonly config?: Config;
  readonly onPublish?: (shell: VirtualShell) => void;
}): VirtualShell {
  const config = parts.config ?? aConfig();
  let sleeps = 0;
  const shell: VirtualShell = {
    nowMs: 100_000,
    applied: [],
    saved: [],
    published: [],
    logged: [],
    now: () => at(shell.nowMs),
    random: () => 0.5,
    config: () => config,
    observe: async () => parts.observe(shell),
    glance: async () => parts.glance?.() ?? {},
    async apply(action) {
      shell.applied.push(action);
      return (await parts.apply?.(action, shell)) ?? { ok: true };
    },
    async saveMemory(memory) {
      shell.saved.push(memory);
    },
    async publish(result, world, pass) {
      shell.published.push({ result, world, pass });
      parts.onPublish?.(shell);
    },
    async sleepUntil(monoMs, signal) {
      sleeps += 1;
      if (sleeps > 10_000)
        throw new Error(`the loop was never ended; its last words: ${shell.logged.at(-1)}`);
      if (!signal.aborted) shell.nowMs = Math.max(shell.nowMs, monoMs);
      await new Promise((resolve) => setImmediate(resolve));
    },
    log: (level, message) => {
      shell.logged.push(`${level} ${message}`);
    },
  };
  return shell;
}
