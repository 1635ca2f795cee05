/** A thread of `make fleet`: simulates the part of the fleet that it is given, and answers with its tally. */
import { parentPort, workerData } from 'node:worker_threads';
import type { Scenario } from './fleet-outage.ts';
import { type Part, simulateFleet } from './fleet-run.ts';

export interface Task {
  readonly scenario: Scenario;
  readonly part: Part;
}

const { scenario, part }: Task = workerData;
parentPort?.postMessage(await simulateFleet(scenario, part));
