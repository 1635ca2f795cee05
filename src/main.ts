/** argv -> verb, and nothing else. */
import { parseArgs } from 'node:util';
import type { CliContext } from './cli/context.ts';
import { exitCode } from './cli/context.ts';
import { paths } from './cli/paths.ts';
import { findVerb, reservedVerbs, usage, verbs } from './cli/verbs.ts';
import { messageOf } from './systems/error.ts';

const complain = (line: string) => {
  process.stderr.write(`${line}\n`);
};

// A reader that went away (`| head`, a journald that was replaced) is no reason to fail.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);

async function main(argv: readonly string[]): Promise<number> {
  const [name, ...rest] = argv;
  const wantsHelp = name === 'help' || argv.includes('--help') || argv.includes('-h');
  if (name === undefined || wantsHelp) {
    process.stdout.write(`${usage()}\n`);
    return name === undefined ? exitCode.usage : exitCode.fine;
  }
  const verb = findVerb(name === '--version' ? 'version' : name);
  if (verb === undefined && reservedVerbs.includes(name)) {
    complain(`mooring: "${name}" is not in this version yet`);
    return exitCode.usage;
  }
  if (verb === undefined) {
    complain(
      `mooring: there is no verb "${name}"; there are ${verbs
        .filter((one) => one.isInternal !== true)
        .map((one) => one.name)
        .join(', ')}`,
    );
    return exitCode.usage;
  }
  let values: Record<string, string | boolean | undefined>;
  try {
    ({ values } = parseArgs({
      args: rest,
      options: { config: { type: 'string' }, ...verb.flags },
      strict: true,
    }));
  } catch (error) {
    complain(`mooring ${verb.name}: ${messageOf(error)}`);
    return exitCode.usage;
  }
  const { config, ...flags } = values;
  const given = Object.entries(flags).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]]));
  const context: CliContext = {
    configFile: typeof config === 'string' ? config : paths.configFile,
    flags: Object.fromEntries(given),
    print: (line) => {
      process.stdout.write(`${line}\n`);
    },
    complain,
  };
  return verb.run(context);
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    complain(error instanceof Error ? (error.stack ?? error.message) : String(error));
    process.exitCode = exitCode.notFine;
  },
);
