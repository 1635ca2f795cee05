/** `mooring check`: reads the config as the daemon would, and tells every problem in it. Offline; touches nothing. */
import { type ConfigResult, parseConfig } from '../config/parse.ts';
import { formatProblem } from '../config/problem.ts';
import { visible } from '../config/render-found.ts';
import type { Config, IngressConfig, SecretRef } from '../config/schema.ts';
import { secretFiles } from '../config/secrets.ts';
import { SystemError } from '../systems/error.ts';
import { readConfigSources } from '../systems/files/config-sources.ts';
import { exposedFiles } from '../systems/files/secret.ts';
import { type CliContext, exitCode } from './context.ts';

/** Exit code 0 where the config would be accepted, also with warnings; 78 where not. */
export async function check(context: CliContext): Promise<number> {
  const read = await readSources(context.configFile);
  if (typeof read === 'string') {
    context.complain(visible(read));
    return exitCode.badConfig;
  }
  const result: ConfigResult = parseConfig(read);
  if (!result.ok) {
    for (const problem of result.problems) context.complain(formatProblem(problem));
    const count = result.problems.length;
    context.complain(`${count} ${count === 1 ? 'problem' : 'problems'}; mooring would not take this config`);
    return exitCode.badConfig;
  }
  const dropIns = read.length - 1;
  const from = dropIns === 0 ? '' : ` and ${dropIns} ${dropIns === 1 ? 'drop-in' : 'drop-ins'}`;
  context.print(`config is fine: ${context.configFile}${from}`);
  for (const line of summary(result.config)) context.print(`  ${line}`);
  for (const { path, mode } of await exposedFiles(secretFiles(result.config)))
    context.complain(
      visible(
        `warning: others than its owner can read the secret in ${path} (mode ${mode.toString(8)}): chmod 600 it`,
      ),
    );
  return exitCode.fine;
}

async function readSources(configFile: string) {
  try {
    return await readConfigSources(configFile);
  } catch (error) {
    if (error instanceof SystemError) return error.message;
    throw error;
  }
}

function summary({ zerotier, k3s, ingress, health }: Config): string[] {
  const networks = zerotier.networks.map(({ id, dns }) => {
    const shown = typeof dns === 'string' ? dns : dns.servers.join(', ');
    return `network  ${id}, DNS: ${shown}`;
  });
  const network = k3s.network ?? zerotier.networks[0]?.id ?? '';
  return [
    ...networks,
    `k3s      joins ${k3s.server} over ${network}, token from ${shownRef(k3s.token)}`,
    ...ingress.map(shownEntry),
    ...(ingress.length === 0 ? ['ingress  none'] : []),
    `health   port ${health.port} at ${health.listen.join(', ') || 'no address'}`,
  ];
}

function shownRef(ref: SecretRef): string {
  return 'file' in ref ? ref.file : `the credential ${ref.credential}`;
}

function shownEntry({ name, protocol, listen, upstreams }: IngressConfig): string {
  const targets = Array.isArray(upstreams)
    ? upstreams.map((upstream) => (typeof upstream === 'string' ? upstream : upstream.address)).join(', ')
    : upstreams === 'auto'
      ? `k3s' own Traefik, found in the cluster`
      : `port ${upstreams.port} of Service ${upstreams.service}, found in the cluster`;
  return `ingress  ${name}: ${protocol} ${listen} -> ${targets}`;
}
