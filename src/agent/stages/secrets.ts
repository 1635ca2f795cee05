/** Whether the files that hold secrets are readable by their owner alone. It only tells. */
import type { Finding } from '../conditions.ts';
import { isFalse, isTrue, type StageInput } from './stage.ts';

export function secretsFinding({ world: { exposed } }: StageInput): Finding {
  if (exposed.length === 0)
    return isTrue('Protected', 'no file with a secret is readable by others than its owner');
  const told = exposed.map(({ path, mode }) => `${path} (mode ${mode.toString(8).padStart(4, '0')})`);
  const files = exposed.map(({ path }) => path).join(' ');
  return isFalse(
    'Exposed',
    `others than the owner can read ${told.join(', ')}: chmod 600 ${files}, and replace the secret if somebody may have`,
  );
}
