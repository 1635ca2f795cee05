/**
 * Asks nginx which config it serves: the generated config has a server on a unix socket that answers with the config's generation
 * and closes, and so does each TCP port of the ingress to mooring's own address. Silence, garbage and delay all mean that nothing
 * is known.
 */
import { createConnection, type NetConnectOpts } from 'node:net';

const maxBytes = 64;

/** The generation, 16 hex digits, or undefined where none came whole within `deadlineMs`. */
export function askGeneration(target: NetConnectOpts, deadlineMs: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = createConnection(target);
    let answer = '';
    const finish = (text: string) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(/^[0-9a-f]{16}$/.test(text.trim()) ? text.trim() : undefined);
    };
    const timer = setTimeout(() => finish(''), deadlineMs);
    socket.setEncoding('latin1');
    socket.on('data', (chunk) => {
      answer += String(chunk);
      if (answer.length > maxBytes) finish('');
    });
    socket.on('end', () => finish(answer));
    socket.on('error', () => finish(''));
  });
}
