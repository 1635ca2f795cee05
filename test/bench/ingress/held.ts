/** How many connections stand at once, and what one of them takes. Each rival has just been started. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { BedError, waitFor } from '../../bed/process.ts';
import type { ComparedSection } from './compare.ts';
import type { Rig } from './rig.ts';
import { ports, type Rival, rivals } from './rivals.ts';
import { Tally } from './rounds.ts';

const program = join(import.meta.dirname, 'holding.ts');
const kib = 1024;
/** What `holding.ts hold` prints. */
interface Held {
  readonly held: number;
  readonly failed: number;
  readonly openedMs: number;
}

/** Tries `tried` connections at each rival in turn. */
export async function measureHeld(rig: Rig, tried: number): Promise<ComparedSection> {
  const tally = new Tally();
  // The direct one first: what its connections take of the kernel is the client's and the upstream's share.
  let endsBytes = 0;
  for (const rival of [...rivals].reverse()) {
    const { held, userBytes, kernelBytes, openedMs } = await holdAt(rig, rival, tried);
    tally.add('held', rival, held);
    tally.add('opened a second', rival, held / (openedMs / 1000));
    if (rival === 'direct') endsBytes = kernelBytes / held;
    else {
      tally.add("proxy's memory for one (PSS)", rival, userBytes / held / kib);
      tally.add("kernel's memory for one", rival, (kernelBytes / held - endsBytes) / kib);
    }
  }
  return {
    title: 'Ingress: connections held at once',
    method: `${tried} tried, a byte there and back on each, and on all of them again; a process may have ${rig.hardLimit} open files here, a connection through a proxy has two.`,
    figures: [
      tally.figure('held', '', 'more'),
      tally.figure('opened a second', '1/s', 'more'),
      tally.figure("proxy's memory for one (PSS)", 'KiB', 'less'),
      tally.figure(
        "kernel's memory for one",
        'KiB',
        'less',
        'by the slabs of the whole machine: others disturb it',
      ),
    ],
  };
}

async function holdAt(rig: Rig, rival: Rival, tried: number) {
  const echo = rig.background('upstream', 'echo', [process.execPath, program, 'echo', String(ports.echo)]);
  await rig.listens('upstream', ports.echo, () => echo.log());
  if (rival !== 'direct') await rig.open(rival);
  await delay(200);
  const before = await memory(rig, rival);
  const holding = rig.background('client', 'holding', [
    ...[process.execPath, program, 'hold', rig.address(rival), String(ports.echo), String(tried)],
  ]);
  try {
    const told = await waitFor(
      `${tried} connections to ${rival}`,
      async () => /^\{.*\}$/m.exec(await readFile(join(rig.run.dir, 'holding.log'), 'utf8'))?.[0],
      { timeoutMs: 60_000, context: () => holding.log() },
    );
    const found: Held = JSON.parse(told);
    if (!(found.held > 0)) throw new BedError(`${rival} held no connection: ${told}`);
    const after = await memory(rig, rival);
    return {
      ...found,
      userBytes: after.userBytes - before.userBytes,
      kernelBytes: after.kernelBytes - before.kernelBytes,
    };
  } finally {
    for (const part of ['holding', 'echo']) rig.run.killPart(part);
    if (rival !== 'direct') await rig.close(rival);
    await rig.forget('holding.log');
  }
}

async function memory(rig: Rig, rival: Rival): Promise<{ userBytes: number; kernelBytes: number }> {
  const userBytes = rival === 'direct' ? 0 : (await rig.usage(rival)).pssBytes;
  const slab = /^Slab:\s+(\d+) kB$/m.exec(await readFile('/proc/meminfo', 'utf8'))?.[1];
  return { userBytes, kernelBytes: Number(slab) * kib };
}
