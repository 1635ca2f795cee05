/** The table of verbs. Each is loaded when it is called, so that a small one does not pay for the daemon. */
import type { CliContext } from './context.ts';

/** A flag as node:util's parseArgs takes it. */
interface Flag {
  readonly type: 'string' | 'boolean';
}

export interface Verb {
  readonly name: string;
  readonly summary: string;
  readonly flags: Readonly<Record<string, Flag>>;
  /** Called by the package and its units, not by people; left out of the usage. */
  readonly isInternal?: boolean;
  readonly run: (context: CliContext) => Promise<number>;
}

export const verbs: readonly Verb[] = [
  {
    name: 'run',
    summary: 'run the daemon (what mooring.service does)',
    flags: {},
    run: async (context) => (await import('./run.ts')).run(context),
  },
  {
    name: 'status',
    summary: 'tell whether the node is moored, and what is missing  [--json]',
    flags: { json: { type: 'boolean' } },
    run: async (context) => (await import('./status.ts')).status(context),
  },
  {
    name: 'check',
    summary: 'check the config, offline',
    flags: {},
    run: async (context) => (await import('./check.ts')).check(context),
  },
  {
    name: 'plan',
    summary: 'show what mooring would change now, and change nothing',
    flags: {},
    run: async (context) => (await import('./plan.ts')).showPlan(context),
  },
  {
    name: 'wait',
    summary: 'return when the node is moored  [--timeout 10m]',
    flags: { timeout: { type: 'string' } },
    run: async (context) => (await import('./wait.ts')).wait(context),
  },
  {
    name: 'leave',
    summary:
      'take the node out of cluster and network, for good or until it is asked back  [--drain [--timeout 5m]]',
    flags: { drain: { type: 'boolean' }, timeout: { type: 'string' } },
    run: async (context) => (await import('./leave.ts')).leave(context),
  },
  {
    name: 'prepare-image',
    summary: 'empty this disk of what must not be cloned, before an image is taken of it  [--force]',
    flags: { force: { type: 'boolean' } },
    run: async (context) => (await import('./prepare-image.ts')).prepareImage(context),
  },
  {
    name: 'version',
    summary: 'print the version',
    flags: {},
    run: async (context) => (await import('./version.ts')).showVersion(context),
  },
  {
    name: 'preseed-zerotier',
    summary: "write the blacklist into local.conf before zerotier-one's first start",
    flags: {},
    isInternal: true,
    run: async (context) => (await import('./preseed-zerotier.ts')).preseedZeroTier(context),
  },
  {
    name: 'revert-dns',
    summary: 'take back the DNS that mooring set',
    flags: {},
    isInternal: true,
    run: async (context) => (await import('./revert-dns.ts')).revertDns(context),
  },
];

/** Names kept for verbs that a later version brings; until then they are refused in words of their own. */
export const reservedVerbs: readonly string[] = ['doctor', 'events', 'support-bundle'];

/** By name. */
export function findVerb(name: string): Verb | undefined {
  return verbs.find((verb) => verb.name === name);
}

/** What `mooring` alone prints. */
export function usage(): string {
  const shown = verbs.filter((verb) => verb.isInternal !== true);
  const width = Math.max(...shown.map((verb) => verb.name.length));
  const lines = shown.map((verb) => `  ${verb.name.padEnd(width)}  ${verb.summary}`);
  return [
    'usage: mooring VERB [--config FILE]',
    '',
    ...lines,
    '',
    'Exit codes: 0 fine, 1 not fine, 2 usage, 78 bad config. See mooring(8).',
  ].join('\n');
}
