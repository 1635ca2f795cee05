/** Sends one datagram and prints the first answer: `udp-once.ts HOST PORT TEXT TIMEOUT_MS`. 1 where none comes. */
import { createSocket } from 'node:dgram';

const [host = '', port = '', text = '', timeoutMs = ''] = process.argv.slice(2);
const socket = createSocket('udp4');
const deadline = setTimeout(() => {
  process.stderr.write(`no answer from ${host}:${port} within ${timeoutMs} ms\n`);
  process.exitCode = 1;
  socket.close();
}, Number(timeoutMs));
socket.on('message', (message) => {
  clearTimeout(deadline);
  process.stdout.write(message);
  socket.close();
});
socket.on('error', (error) => {
  clearTimeout(deadline);
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
  socket.close();
});
socket.connect(Number(port), host, () => socket.send(text));
