/**
 * A script of steps that is played on the model and on the real thing at once. After each step both must look alike to mooring's
 * adapters: the model when its virtual time has gone on for a while, reality within a bound and for two looks in a row. States
 * that only pass are not compared; a step that stops in one compares it.
 */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { VirtualClock } from '../simulation/clock.ts';
import { Names, type Normal, normalised, type Part } from './normal.ts';
import type { Act, Seen, Side } from './side.ts';

interface StepBase {
  readonly name: string;
  /** Virtual time that goes on in the model after the step; 1 s unless told. */
  readonly afterMs?: number;
}

/** What mooring does, on either side by what that side showed last. Whether and how it fails is compared as well. */
interface OwnStep extends StepBase {
  readonly act: (seen: Seen) => Act;
}

/** What befalls the system. */
interface EventStep<Model, Real> extends StepBase {
  readonly model: (model: Model) => unknown;
  readonly real: (real: Real) => Promise<unknown>;
}

export type Step<Model, Real> = OwnStep | EventStep<Model, Real>;

/** Both sides of a comparison. */
export interface Both<Model, Real> {
  readonly clock: VirtualClock;
  readonly model: Model;
  readonly modelSide: Side;
  readonly real: Real;
  readonly realSide: Side;
  /** What of a look is compared. */
  readonly parts: readonly Part[];
  readonly pace?: Pace;
}

/** How long reality may take to get where the model is, and how often it is looked at. */
export interface Pace {
  readonly boundMs: number;
  readonly betweenLooksMs: number;
}

const realPace: Pace = { boundMs: 10_000, betweenLooksMs: 40 };

/** One side on its way through a script. */
class Player {
  seen: Seen | undefined;
  private names = new Names();
  private readonly side: Side;
  private readonly parts: readonly Part[];

  constructor(side: Side, parts: readonly Part[]) {
    this.side = side;
    this.parts = parts;
  }

  /** A look that counts only once it is accepted. */
  async look(): Promise<{ readonly normal: Normal; readonly accept: () => void }> {
    const seen = await this.side.look();
    const names = this.names.copy();
    const normal = normalised(seen, names, this.parts);
    return {
      normal,
      accept: () => {
        this.seen = seen;
        this.names = names;
      },
    };
  }

  act({ act }: OwnStep): Promise<string | undefined> {
    if (this.seen === undefined) throw new Error('a script does not begin with an act');
    return this.side.act(act(this.seen));
  }
}

/** Plays the script; throws at the first step after which the sides differ, with both readings. */
export async function follow<Model, Real>(
  script: readonly Step<Model, Real>[],
  both: Both<Model, Real>,
): Promise<void> {
  const model = new Player(both.modelSide, both.parts);
  const real = new Player(both.realSide, both.parts);
  for (const step of script) {
    if ('act' in step) {
      const [theirs, ours] = await Promise.all([real.act(step), model.act(step)]);
      assert.equal(theirs, ours, `"${step.name}" ends otherwise in reality (first) than in the model`);
    } else {
      await step.model(both.model);
      await step.real(both.real);
    }
    await both.clock.runUntil(both.clock.nowMs + (step.afterMs ?? 1_000), () => true);
    const wanted = await model.look();
    wanted.accept();
    await arrive(step.name, real, wanted.normal, both.pace ?? realPace);
  }
}

/** Waits until reality shows what the model shows, twice in a row. */
async function arrive(name: string, real: Player, wanted: Normal, pace: Pace): Promise<void> {
  const endMs = performance.now() + pace.boundMs;
  for (let alike = 0; ; await delay(pace.betweenLooksMs)) {
    const { normal, accept } = await real.look();
    if (isDeepStrictEqual(normal, wanted)) {
      alike += 1;
      if (alike < 2) continue;
      accept();
      return;
    }
    alike = 0;
    if (performance.now() < endMs) continue;
    assert.deepEqual(normal, wanted, `after "${name}" reality (first) differs from the model`);
  }
}
