/**
 * Two programs for connections by the thousand, run by node at an end of the rig:
 *   holding.ts echo PORT             sends every byte back, until it is killed
 *   holding.ts hold ADDRESS PORT N   opens N connections, some at a time; each counts as held once a byte came back on
 *                                    it. When no more come it sends a second byte on all of them, since a proxy may
 *                                    close what it had taken, prints one line of JSON, and keeps them until it is killed.
 */
import { createConnection, createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** As many connections are being opened at once. */
const atOnce = 200;
/** Without any progress for so long there will be none. */
const patienceMs = 3_000;

function echo(port: number): void {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('data', (bytes) => socket.write(bytes));
  });
  server.listen({ port, host: '0.0.0.0', backlog: 4096 });
}

async function hold(address: string, port: number, count: number): Promise<void> {
  const held = new Set<Socket>();
  let [begun, failed, answers, movedAt] = [0, 0, 0, performance.now()];
  const startedAt = performance.now();
  const open = (): void => {
    if (begun >= count) return;
    begun += 1;
    const socket = createConnection({ host: address, port, noDelay: true });
    let isSettled = false;
    const settle = (): void => {
      if (isSettled) return;
      isSettled = true;
      movedAt = performance.now();
      open();
    };
    socket.on('connect', () => socket.write('1'));
    socket.on('data', () => {
      answers += 1;
      held.add(socket);
      movedAt = performance.now();
      settle();
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      held.delete(socket);
      failed += 1;
      settle();
    });
  };
  for (let slot = 0; slot < atOnce; slot += 1) open();
  const calm = async (isDone: () => boolean): Promise<void> => {
    movedAt = performance.now();
    while (!isDone() && performance.now() - movedAt < patienceMs) await delay(20);
  };
  await calm(() => held.size + failed >= count);
  const openedMs = movedAt - startedAt;
  const opened = held.size;
  answers = 0;
  for (const socket of held) socket.write('2');
  await calm(() => answers >= held.size);
  process.stdout.write(
    `${JSON.stringify({ opened, held: Math.min(answers, held.size), failed, openedMs })}\n`,
  );
}

const [role, ...rest] = process.argv.slice(2);
if (role === 'echo') echo(Number(rest[0]));
else if (role === 'hold') await hold(rest[0] ?? '', Number(rest[1]), Number(rest[2]));
else throw new Error(`echo or hold, not ${role}`);
