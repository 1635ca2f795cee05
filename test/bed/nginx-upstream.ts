/**
 * What stands behind nginx in its own tests: `nginx-upstream.ts PORT` answers on 127.0.0.1, HTTP over TCP with what came
 * before the request (a PROXY header, or nothing), and each datagram over UDP with itself.
 */
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

const port = Number(process.argv[2]);

const server = createServer((socket) => {
  let received = '';
  socket.setEncoding('latin1');
  socket.on('data', (chunk) => {
    received += chunk;
    if (!received.includes('\r\n\r\n')) return;
    const header = /^PROXY [^\r]*/.exec(received)?.[0] ?? 'no header';
    const body = `traefik: ${header}`;
    socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`);
  });
  socket.on('error', () => undefined);
});
server.listen({ host: '127.0.0.1', port, backlog: 4096 });

const echo = createSocket('udp4');
echo.on('message', (message, { port: peer, address }) => echo.send(message, peer, address));
echo.bind(port, '127.0.0.1');
