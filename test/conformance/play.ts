/** Plays a script on a model and on a booted node, which mooring's adapters look at while it lasts. */
import type { ModelNode } from './model-node.ts';
import type { Part } from './normal.ts';
import type { RealNode } from './real-node.ts';
import { follow, type Step } from './script.ts';
import type { Scope } from './side.ts';

/** As `follow`. */
export async function playOn(
  real: RealNode,
  script: readonly Step<ModelNode, RealNode>[],
  scope: Scope,
  parts: readonly Part[],
  model: ModelNode,
): Promise<void> {
  const realSide = real.observe(scope);
  const modelSide = model.side(scope);
  try {
    await follow(script, { clock: model.clock, model, modelSide, real, realSide, parts });
  } finally {
    realSide.close();
  }
}
