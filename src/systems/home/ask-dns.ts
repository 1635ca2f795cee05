/** Asks DNS servers whether they are there, past every cache: any answer to our question will do, also a refusal. */
import { randomInt } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { codeOf } from '../error.ts';

/** `refuses`: an ICMP error came back, so somebody is there, and no DNS server. */
export type DnsAnswer = 'answers' | 'refuses' | 'silent';

/** A question for the name servers of the root, not to be passed on: RFC 1035, 4.1; no flags set. */
function rootQuestion(id: number): Buffer {
  const question = Buffer.from([0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1]);
  question.writeUInt16BE(id, 0);
  return question;
}

/** Asks all of them at once, each twice, and takes the best. Never rejects. */
export async function askDns(
  servers: readonly string[],
  options: { readonly port?: number; readonly deadlineMs: number; readonly signal: AbortSignal },
): Promise<DnsAnswer> {
  const answers = await Promise.all(servers.map((server) => askOne(server, options)));
  return (['answers', 'refuses'] as const).find((answer) => answers.includes(answer)) ?? 'silent';
}

function askOne(
  server: string,
  { port = 53, deadlineMs, signal }: { port?: number; deadlineMs: number; signal: AbortSignal },
): Promise<DnsAnswer> {
  return new Promise((resolve) => {
    const socket: Socket = createSocket(isIPv6(server) ? 'udp6' : 'udp4');
    const id = randomInt(0x10000);
    const send = () => socket.send(rootQuestion(id), () => undefined);
    const timers: NodeJS.Timeout[] = [];
    const end = (answer: DnsAnswer) => {
      for (const timer of timers) clearTimeout(timer);
      signal.removeEventListener('abort', giveUp);
      socket.removeAllListeners('message');
      try {
        socket.close();
      } catch {
        // Closed already.
      }
      resolve(answer);
    };
    const giveUp = () => end('silent');
    socket.on('error', (error) => end(codeOf(error) === 'ECONNREFUSED' ? 'refuses' : 'silent'));
    socket.on('message', (message) => {
      const isAnswer = message.length >= 12 && message.readUInt16BE(0) === id && message.readUInt8(2) >= 0x80;
      if (isAnswer) end('answers');
    });
    if (signal.aborted) {
      giveUp();
      return;
    }
    signal.addEventListener('abort', giveUp, { once: true });
    timers.push(setTimeout(giveUp, deadlineMs));
    // A connected socket takes answers from that server alone, and hears of ICMP errors.
    socket.connect(port, server, () => {
      send();
      timers.push(setTimeout(send, deadlineMs / 3));
    });
  });
}
