/** How long a start takes: mooring's until systemd holds it for active (READY=1), the bare runtime's until its script runs. */
import type { BedNode } from '../bed/node.ts';
import { restartBare } from './bare.ts';
import { median, quantile, type Section } from './figures.ts';

const mooringUnit = 'mooring.service';

/** Restarts both, in turn, on a moored node. */
export async function measureReadiness(node: BedNode, runs: number): Promise<Section> {
  const mooringMs: number[] = [];
  const bareMs: number[] = [];
  for (let run = 0; run < runs; run += 1) {
    mooringMs.push((await restartMooring(node)) / 1000);
    bareMs.push((await restartBare(node)) / 1000);
  }
  return {
    title: 'Start',
    method: `${runs} restarts each, in turn, on a moored node; from the unit's start, its sandbox included.`,
    figures: [
      {
        name: 'time to READY=1 (bare: script runs), median',
        unit: 'ms',
        mooring: median(mooringMs),
        bare: median(bareMs),
      },
      { name: '  fastest', unit: 'ms', mooring: quantile(mooringMs, 0), bare: quantile(bareMs, 0) },
      { name: '  slowest', unit: 'ms', mooring: quantile(mooringMs, 1), bare: quantile(bareMs, 1) },
    ],
  };
}

/** µs from start to active. `systemctl restart` returns when a notify unit is ready. */
async function restartMooring(node: BedNode): Promise<number> {
  await node.run(['systemctl', 'restart', mooringUnit]);
  const [started, active] = await Promise.all([
    node.unitProperty(mooringUnit, 'InactiveExitTimestampMonotonic'),
    node.unitProperty(mooringUnit, 'ActiveEnterTimestampMonotonic'),
  ]);
  return Number(active) - Number(started);
}
