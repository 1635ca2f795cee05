/**
 * The units of the systemd scripts, in both worlds: the packaged ones, with small programs in place of k3s and nginx. What these do
 * is told by files in /run/play, and to the models by knobs.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ingressUnit, k3sUnit } from '../../src/agent/world.ts';
import { k3sSettings } from '../simulation/models/k3s-agent.ts';
import { ingressSettings } from '../simulation/models/nginx.ts';
import type { Program } from '../simulation/models/units.ts';
import type { RootFile } from './real-node.ts';

/** As `k3sUnit`, but its starts are counted over a few seconds only. */
export const hurriedUnit = 'hurried.service';
export const hurriedMs = 5_000;

/** RestartSec= in the scripts: long enough to be seen waiting, short enough to be waited for. */
const restartSecMs = 1_500;

/** What the programs do. Each is a file in /run/play, there or not. */
export interface Knobs {
  /** ExecCondition= of k3s does not hold. */
  refuses: boolean;
  /** k3s gets ready. */
  joins: boolean;
  /** k3s takes long to stop. */
  lingers: boolean;
  /** ConditionPathExists= of the ingress holds. */
  configured: boolean;
}

/** The units for the models. */
export function programsFor(knobs: Knobs): Readonly<Record<string, Program>> {
  const agent: Program = {
    ...k3sSettings,
    restartSecMs,
    execCondition: () => !knobs.refuses,
    begun: () => undefined,
    isReady: () => knobs.joins,
    askMs: 50,
    get stopMs(): readonly [number, number] {
      return knobs.lingers ? [5_000, 5_000] : [50, 50];
    },
  };
  return {
    [k3sUnit]: agent,
    [hurriedUnit]: { ...agent, limitPeriodMs: hurriedMs },
    [ingressUnit]: {
      ...ingressSettings,
      restartSecMs,
      condition: () => knobs.configured,
      begun: () => undefined,
      isReady: () => true,
      askMs: 50,
      stopMs: [50, 50],
    },
  };
}

const packaged = (name: string) =>
  readFileSync(join(import.meta.dirname, '../../packaging/systemd', name), 'utf8');
const unitFile = (name: string, text: string): RootFile => ({
  path: `/usr/lib/systemd/system/${name}`,
  text,
});
const dropIn = (name: string, lines: readonly string[]): RootFile => ({
  path: `/etc/systemd/system/${name}.d/play.conf`,
  text: `${lines.join('\n')}\n`,
});
const program = (path: string, text: string): RootFile => ({ path, text, mode: 0o755 });

const endings = `for how in exit-code signal success; do
    test -e /run/play/$how || continue
    test $how = signal && kill -KILL $$
    test $how = success
    exit $?
  done`;

const agentProgram = `#!/bin/sh
trap 'while test -e /run/play/lingers; do sleep 0.02; done; exit 0' TERM
while :; do
  ${endings}
  if test -e /run/play/joins && test -z "$told"; then systemd-notify --ready; told=1; fi
  sleep 0.02
done
`;

const doorProgram = `#!/bin/sh
trap 'exit 0' QUIT
while :; do
  ${endings}
  sleep 0.02
done
`;

/** A shell has what it starts in the background ignore SIGQUIT. */
const startDoor = `/bin/sh -c 'env --default-signal=QUIT /usr/lib/mooring/door & echo $$! >/run/mooring-ingress/nginx.pid'`;

/** The units as packaged, under names of their own: nothing starts them, they are only looked at. */
export const untouched = { [k3sUnit]: 'untouched-k3s.service', [ingressUnit]: 'untouched-ingress.service' };

/** What a node needs to run them. */
export const unitFiles: readonly RootFile[] = [
  unitFile('mooring-online.target', packaged('mooring-online.target')),
  unitFile(k3sUnit, packaged(k3sUnit)),
  unitFile(hurriedUnit, packaged(k3sUnit)),
  unitFile(ingressUnit, packaged(ingressUnit)),
  unitFile(untouched[k3sUnit], packaged(k3sUnit)),
  unitFile(untouched[ingressUnit], packaged(ingressUnit)),
  dropIn(k3sUnit, ['[Service]', `RestartSec=${restartSecMs}ms`]),
  dropIn(hurriedUnit, ['[Unit]', `StartLimitIntervalSec=${hurriedMs}ms`]),
  dropIn(ingressUnit, [
    ...['[Unit]', 'ConditionPathExists=', 'ConditionPathExists=/run/play/configured'],
    ...['[Service]', `RestartSec=${restartSecMs}ms`, 'ExecStart=', `ExecStart=${startDoor}`],
  ]),
  program('/usr/lib/mooring/k3s-address-check', '#!/bin/sh\ntest ! -e /run/play/refuses\n'),
  program('/usr/lib/mooring/k3s-agent', agentProgram),
  program('/usr/lib/mooring/door', doorProgram),
];

/** Run once on the booted node: as the package's installation leaves its units. */
export const enableUnits = [
  'mkdir -p /run/play',
  `systemctl enable ${k3sUnit} ${hurriedUnit} ${ingressUnit}`,
  'systemctl daemon-reload',
].join(' && ');
