/**
 * The model of zerotier-one, held to the stand-in, which `test/contract/zerotier-standin` holds to what was measured on the real
 * one. Its protocol waits are hurried; the kernel, and mooring's adapter, are real.
 */

import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { DEVICE, Lab } from '../contract/zerotier-standin/lab.ts';
import { VirtualClock } from '../simulation/clock.ts';
import { KernelModel } from '../simulation/models/kernel.ts';
import { ZeroTierModel } from '../simulation/models/zerotier.ts';
import { device } from '../support/world.ts';
import { noChance } from './model-node.ts';
import { Observer } from './observing.ts';
import { follow } from './script.ts';
import { type Side, sideOf } from './side.ts';
import { faultPort, zerotierParts, zerotierScript } from './zerotier-script.ts';

describe('the simulation is like zerotier-one:', () => {
  const lab = Lab.open({ speed: 20, control: faultPort, networkWindowMs: 1_500 });
  const realSide = new Observer(lab.node.namespace, {
    devices: [DEVICE],
    units: [],
    zerotierToken: join(lab.node.folder, 'authtoken.secret'),
  });
  after(() => {
    realSide.close();
    lab.close();
  });

  test('the life of a network', async () => {
    const clock = new VirtualClock();
    const kernel = new KernelModel();
    const zerotier = new ZeroTierModel(clock, kernel, noChance);
    const model = { clock, kernel, zerotier };
    const modelSide = waiting(clock, sideOf({ netlink: kernel, zerotier }, { devices: [device], units: [] }));
    await follow(zerotierScript, { clock, model, modelSide, real: lab, realSide, parts: zerotierParts });
  });
});

/** A model that hangs answers once virtual time has gone on. */
function waiting(clock: VirtualClock, side: Side): Side {
  const through = async <T>(answer: Promise<T>): Promise<T> => {
    let isThere = false;
    const there = answer.finally(() => {
      isThere = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    if (!isThere) await clock.runUntil(clock.nowMs + 5_000, () => !isThere);
    return there;
  };
  return { look: () => through(side.look()), act: (act) => through(side.act(act)) };
}
