/** A thread of the simulation: runs its share of the schedules, and answers with its report. */
import { parentPort, workerData } from 'node:worker_threads';
import { runShare, type Share } from './campaign.ts';

const share: Share = workerData;
parentPort?.postMessage(await runShare(share));
