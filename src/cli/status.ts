/** `mooring status [--json]`: what the running mooring says of the node. Exit 0 where it is Ready, 1 where it is not. */
import { type StatusDocument, wordsOf } from '../health/status.ts';
import { messageOf } from '../systems/error.ts';
import { askMooring } from '../systems/mooring/client.ts';
import { type CliContext, exitCode } from './context.ts';
import { paths } from './paths.ts';

const deadlineMs = 5_000;
const marks: Readonly<Record<string, string>> = { true: 'ok', false: '!!', unknown: '??' };

export async function status(context: CliContext): Promise<number> {
  try {
    const { status: code, text } = await askMooring(paths.socket, '/status', deadlineMs);
    if (code !== 200) {
      context.complain(text.trim());
      return exitCode.notFine;
    }
    const document: StatusDocument = JSON.parse(text);
    for (const line of context.flags['json'] === true ? [text] : describe(document)) context.print(line);
    return document.ready ? exitCode.fine : exitCode.notFine;
  } catch (error) {
    context.complain(messageOf(error));
    return exitCode.notFine;
  }
}

/** The lines for people. */
export function describe(document: StatusDocument): readonly string[] {
  const width = Math.max(...document.conditions.map((condition) => condition.type.length));
  const conditions = document.conditions.map((one) => {
    const cause = one.cause === undefined ? '' : ` [because of ${one.cause}]`;
    return `  ${marks[one.status] ?? one.status}  ${one.type.padEnd(width)}  ${one.reason}: ${one.message}${cause}`;
  });
  const networks = document.networks.map((network) => {
    const where =
      network.ifindex === undefined
        ? 'no interface'
        : `${network.device} (ifindex ${network.ifindex}, MTU ${network.mtuBytes})`;
    const heard = network.controllerHeardSecondsAgo;
    const controller = heard === undefined ? '' : `controller heard ${heard} s ago, `;
    const flaps = `${controller}${network.flaps} flaps, ${network.outages} outages`;
    return `  ${[network.id, network.name].filter((part) => part !== '').join(' ')}: ${network.status}, ${where}, ${network.addresses.join(', ') || 'no address'}; ${flaps}`;
  });
  const { restarts: asked, unaskedStarts } = document.k3s;
  const restarts = Object.entries(asked).map(([key, count]) => `${key}: ${count}`);
  if (unaskedStarts > 0) restarts.push(`k3s, not asked for: ${unaskedStarts}`);
  const budgets = document.budgets.map(({ name, left, of, withheldUntil }) =>
    withheldUntil === undefined ? `${name} ${left} of ${of} left` : `${name} none until ${withheldUntil}`,
  );
  const cloud = Object.entries(document.cloud).map(([name, value]) => `${name} ${value}`);
  return [
    `${document.hostname}: ${document.sentence}`,
    '',
    ...conditions,
    '',
    'networks',
    ...networks,
    `k3s      ${document.k3s.state}${document.k3s.nodeIp === undefined ? '' : `, node-ip ${document.k3s.nodeIp}`}`,
    `home     ${describeHome(document.home)}`,
    `ingress  ${document.ingress.state}${document.ingress.generation === undefined ? '' : `, config ${document.ingress.generation}`}`,
    ...document.ingress.listeners.map((one) => `  ${one.name}/${one.protocol}: ${wordsOf(one)}`),
    `cloud    ${cloud.join(', ') || 'none'}`,
    `starts   ${restarts.join(', ') || 'none'}`,
    `budgets  ${budgets.join(', ') || 'full'}`,
  ];
}

function describeHome({ server, trust, latencyMs, error, dns }: StatusDocument['home']): string {
  const details = [trust, latencyMs === undefined ? undefined : `${latencyMs} ms`, error];
  const told = details.filter((detail) => detail !== undefined).join(', ');
  return `server ${server}${told === '' ? '' : ` (${told})`}, DNS ${dns}`;
}
