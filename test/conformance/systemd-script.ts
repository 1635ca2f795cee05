/** What befalls a unit in systemd: jobs, conditions, crashes and limits, and what a person does to its file. */
import { setTimeout as delay } from 'node:timers/promises';
import { ingressUnit, k3sUnit } from '../../src/agent/world.ts';
import type { ModelNode } from './model-node.ts';
import type { Part } from './normal.ts';
import type { RealNode } from './real-node.ts';
import type { Step } from './script.ts';
import { hurriedMs, hurriedUnit, type Knobs } from './systemd-units.ts';

export const unitParts: readonly Part[] = ['units'];

type UnitStep = Step<ModelNode, RealNode>;

/** The steps that one unit's script is made of. `knobs` are the model's. */
function stepsOf(unit: string, knobs: Knobs) {
  const act = (verb: 'start' | 'restart' | 'stop' | 'resetFailed', why: string): UnitStep => ({
    name: `${verb}: ${why}`,
    act: () => ({ do: 'unit', verb, unit }),
  });
  const turn = (name: string, changes: Partial<Knobs>): UnitStep => ({
    name,
    model: () => Object.assign(knobs, changes),
    real: (node) => node.run(turned(changes)),
  });
  return {
    begin: turn('nothing has happened yet', knobs),
    start: (why: string) => act('start', why),
    restart: (why: string) => act('restart', why),
    stop: (why: string) => act('stop', why),
    resetFailed: (why: string) => act('resetFailed', why),
    turn,
    /** The file goes once the program has read it, so that the next run does not end as well. */
    ends: (result: 'exit-code' | 'signal' | 'success', why = 'it ends by itself'): UnitStep => ({
      name: `${why}: ${result}`,
      model: (node) => node.unit(unit).crash(result),
      real: (node) =>
        node.run(
          `pid=$(systemctl show -P MainPID ${unit}); touch /run/play/${result}
          timeout 5 sh -c "while test -e /proc/$pid; do sleep 0.01; done"; rm /run/play/${result}`,
        ),
    }),
    later: (what: string): UnitStep => ({
      name: what,
      afterMs: 6_000,
      model: () => undefined,
      real: async () => undefined,
    }),
    systemctl: (verb: string, file: 'enabled' | 'disabled' | 'masked'): UnitStep => ({
      name: `somebody says systemctl ${verb}`,
      model: (node) => {
        node.unit(unit).file = file;
      },
      real: (node) => node.run(`systemctl ${verb} ${unit}`),
    }),
  };
}

function turned(changes: Partial<Knobs>): string {
  const lines = Object.entries(changes).map(
    ([knob, isOn]) => `${isOn ? 'touch' : 'rm -f'} /run/play/${knob}`,
  );
  return lines.join(' && ');
}

/** Type=notify with ExecCondition=, Restart=always and a limit of three starts. */
export function k3sScript(knobs: Knobs): readonly UnitStep[] {
  const { begin, start, restart, stop, resetFailed, turn, ends, later, systemctl } = stepsOf(k3sUnit, knobs);
  return [
    begin,
    start('it waits for its server'),
    start('it waits already'),
    restart('a run that waits is replaced'),
    turn('it joins', { joins: true }),
    start('it runs already'),
    restart('a running one'),
    stop('it is forgotten'),
    stop('it does not run'),

    turn('its address goes', { refuses: true }),
    start('its condition refuses'),
    turn('its address comes', { refuses: false }),
    start('the refused start left nothing'),
    turn('it will take long to stop', { lingers: true }),
    restart('it does not end yet'),
    { ...turn('it ends, and the next run begins', { lingers: false }), afterMs: 6_000 },

    resetFailed('its starts are counted anew'),
    ends('exit-code'),
    later('systemd restarts it'),
    ends('signal'),
    later('systemd restarts it again'),
    ends('success'),
    later('systemd restarts it a third time'),
    ends('exit-code'),
    later('the limit is reached, and what it ended with is told'),
    start('beyond the limit'),
    stop('it has failed'),
    resetFailed('it is forgotten'),

    start('the first of three'),
    restart('the second of three'),
    restart('the third of three'),
    restart('the fourth of three'),
    start('beyond the limit once more'),
    resetFailed('again'),

    start('for a crash'),
    turn('its address goes before a crash', { refuses: true }),
    ends('exit-code'),
    later('its condition refuses the restart, and that is all'),
    turn('its address comes back', { refuses: false }),
    start('for another crash'),
    ends('exit-code', 'it crashes, and a start comes before RestartSec='),
    start('the wait is cut short'),
    restart('the start that cut it short was counted twice'),
    resetFailed('once more'),

    start('for a restart that comes before RestartSec='),
    ends('exit-code', 'it crashes'),
    restart('the wait is cut short'),
    resetFailed('while it runs'),
    ends('exit-code', 'it crashes, and is forgiven before RestartSec='),
    resetFailed('while it waits'),
    later('systemd restarts it all the same'),
    ends('exit-code', 'it crashes, and is stopped before RestartSec='),
    stop('while it waits'),

    turn('its server goes', { joins: false }),
    start('to wait for the server'),
    ends('exit-code', 'it crashes before it has joined'),
    later('systemd restarts it, and it waits'),
    stop('while it waits for its server'),
    turn('its server comes', { joins: true }),

    start('to be masked'),
    systemctl('mask', 'masked'),
    restart('it is masked'),
    stop('it is masked'),
    start('it is masked and does not run'),
    systemctl('unmask', 'enabled'),
    start('to be masked before it crashes'),
    systemctl('mask', 'masked'),
    ends('exit-code', 'it crashes, and is not restarted'),
    systemctl('unmask', 'enabled'),
    resetFailed('to be forgotten'),

    systemctl('disable', 'disabled'),
    start('systemd starts a disabled unit'),
    systemctl('enable', 'enabled'),
    stop('at last'),
  ];
}

/**
 * Where the versions differ; the models are like the newest. A start of a unit that waits for RestartSec= cuts the wait short
 * since 257 (systemd's pull request 33891); before, its job waits as well. It is counted twice in either
 * (systemd#21025).
 */
export const startCutsWaitShort = { 252: false, 257: true } as const;

/** The window in which starts are counted begins with the first, and is not the last seconds. */
export function hurriedScript(knobs: Knobs): readonly UnitStep[] {
  const { begin, turn, start, restart } = stepsOf(hurriedUnit, knobs);
  const wait = (name: string, ms: number): UnitStep => ({
    name,
    afterMs: ms,
    model: () => undefined,
    real: () => delay(ms),
  });
  return [
    begin,
    turn('it joins at once', { joins: true }),
    start('the window begins'),
    wait('half of the window passes', hurriedMs / 2),
    { ...restart('the second'), afterMs: 200 },
    { ...restart('the third'), afterMs: 200 },
    wait('the window ends', hurriedMs / 2 + 500),
    { ...restart('the first of another window'), afterMs: 200 },
    { ...restart('the second'), afterMs: 200 },
    { ...restart('the third'), afterMs: 200 },
    { ...restart('the fourth'), afterMs: 200 },
  ];
}

/** Type=forking with ConditionPathExists=, Restart=on-failure and a limit of five starts; a target refers to it. */
export function ingressScript(knobs: Knobs): readonly UnitStep[] {
  const { begin, start, restart, stop, resetFailed, turn, ends, later } = stepsOf(ingressUnit, knobs);
  return [
    begin,
    start('there is no config: nothing happens'),
    turn('it is configured', { configured: true }),
    start('it runs'),
    ends('exit-code'),
    later('systemd restarts it'),
    stop('its last run is remembered'),
    turn('its config goes', { configured: false }),
    start('nothing happens, once more'),
    turn('its config comes back', { configured: true }),
    start('the third of five'),
    restart('the fourth of five'),
    restart('the fifth of five'),
    restart('the sixth of five'),
    resetFailed('its last run is remembered still'),
    start('it runs again'),
    stop('at last'),
  ];
}
