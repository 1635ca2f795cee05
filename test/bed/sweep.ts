/** Ends what a run left up or a killed one left behind. Runs whose process lives are left alone. */
import { sweepDeadRuns } from './host.ts';

const ended = sweepDeadRuns();
process.stdout.write(ended.length === 0 ? 'nothing was left\n' : `ended ${ended.join(', ')}\n`);
