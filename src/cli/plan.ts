/** `mooring plan`: observes the node as the daemon does and prints what it would change now. Changes nothing. */
import { describeAction, stageNames } from '../agent/actions.ts';
import { emptyMemory, parseMemory } from '../agent/memory.ts';
import { plan } from '../agent/plan.ts';
import { systemNow } from '../systems/clock.ts';
import { loadJson } from '../systems/files/json-file.ts';
import { type CliContext, exitCode } from './context.ts';
import { loadConfig } from './load-config.ts';
import { openNode } from './node.ts';
import { paths } from './paths.ts';

const ignore = () => undefined;

export async function showPlan(context: CliContext): Promise<number> {
  const loaded = await loadConfig(context.configFile);
  if (loaded.kind === 'none') {
    for (const problem of loaded.problems) context.complain(problem);
    return exitCode.badConfig;
  }
  const { config } = loaded;
  const node = openNode({
    config,
    wake: ignore,
    log: ignore,
    credentialsDirectory: process.env['CREDENTIALS_DIRECTORY'],
    zerotierTokenFile: `${paths.zerotierHome}/authtoken.secret`,
  });
  try {
    const memory = parseMemory(await loadJson(paths.memory)) ?? emptyMemory(0);
    const configState =
      loaded.kind === 'accepted' ? loaded : { kind: loaded.kind, problems: loaded.problems };
    await node.look();
    const world = await node.observe(memory, configState);
    const result = plan({ config, world, memory, now: systemNow() }, 0.5);
    // A question to the controller changes nothing; the daemon has asked it already.
    const lines = stageNames.flatMap((stage) =>
      result.actions[stage]
        .filter((action) => action.do !== 'controller.look')
        .map((action) => `${stage}: ${describeAction(action)}`),
    );
    for (const line of lines.length === 0 ? ['nothing to do'] : lines) context.print(line);
    for (const condition of result.conditions) {
      if (condition.status !== 'true')
        context.print(`${condition.type}=${condition.status} (${condition.reason}): ${condition.message}`);
    }
    return exitCode.fine;
  } finally {
    await node.close();
  }
}
