/**
 * Sessions of a known number, size and fate through the node's doors: servers on the node that take exactly 100 bytes and answer
 * with exactly 1000, and a client that comes as often as it is told. And what mooring says of it.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bed } from './bed.ts';
import { underlay } from './network.ts';
import { BedError, waitFor } from './process.ts';

export const requestBytes = 100;
export const answerBytes = 1000;

/** A listener for each fate, to be added to `ingress`. */
export const countedListeners = `
  - {name: counted, listen: 8101, upstreams: ["127.0.0.1:9301"]}
  - {name: retried, listen: 8102, upstreams: [{address: "127.0.0.1:9"}, {address: "127.0.0.1:9301", backup: true}]}
  - {name: unreachable, listen: 8103, upstreams: ["127.0.0.1:9"]}
  - {name: denied, listen: 8104, upstreams: ["127.0.0.1:9301"], deny: ["10.99.0.0/16"]}
  - {name: limited, listen: 8105, upstreams: ["127.0.0.1:9301"], connectionsPerClient: 1}
  - {name: datagrams, listen: 8106, protocol: udp, upstreams: ["127.0.0.1:9301"], idleTimeout: 1s}
`.trim();

const server = `
import socket, threading
tcp = socket.socket(); tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
tcp.bind(('127.0.0.1', 9301)); tcp.listen(64)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(('127.0.0.1', 9301))
def datagrams():
    while True:
        _, peer = udp.recvfrom(4096)
        udp.sendto(b'x' * ${answerBytes}, peer)
def serve(s):
    got = 0
    while got < ${requestBytes}:
        chunk = s.recv(${requestBytes} - got)
        if not chunk: break
        got += len(chunk)
    else: s.sendall(b'x' * ${answerBytes})
    s.close()
threading.Thread(target=datagrams, daemon=True).start()
while True: threading.Thread(target=serve, args=(tcp.accept()[0],), daemon=True).start()
`;

/** Starts the servers on the node; they end with it. */
export async function startCountedServers(bed: Bed): Promise<void> {
  await bed.node.run(['systemd-run', '--unit=counted', '--service-type=exec', 'python3', '-c', server]);
  await waitFor(
    'the servers to listen',
    async () => (await bed.node.run('cat /proc/net/tcp')).includes(':2455 00000000:0000 0A'),
    { timeoutMs: 10_000 },
  );
}

const client = `
import socket, sys
host, port, kind, times = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
got = 0
for _ in range(times):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == 'udp' else socket.SOCK_STREAM)
    s.settimeout(5)
    s.connect((host, port))
    try:
        s.sendall(b'x' * ${requestBytes})
        while chunk := s.recv(4096):
            got += len(chunk)
            if kind == 'udp': break
    except ConnectionResetError: pass
    s.close()
print(got)
`;

/** Comes to a port so many times, one after the other, and returns how many bytes came back. */
export async function come(
  bed: Bed,
  port: number,
  times: number,
  kind: 'tcp' | 'udp' = 'tcp',
): Promise<number> {
  return Number(
    await bed.client.run(['python3', '-c', client, underlay.node, String(port), kind, String(times)]),
  );
}

const holder = `
import os, socket, sys, time
host, port, number, opened, go = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
held = [socket.create_connection((host, port), 5) for _ in range(number)]
open(opened, 'w').close()
end = time.monotonic() + 90
while not os.path.exists(go):
    if time.monotonic() > end: sys.exit('nobody let go')
    time.sleep(0.02)
got = 0
for s in held:
    s.settimeout(5)
    s.sendall(b'x' * ${requestBytes})
    while chunk := s.recv(4096): got += len(chunk)
print(got)
`;

let holds = 0;

/** Opens connections and leaves them alone; `finish` has each of them ask, and returns how many bytes came back. */
export async function hold(bed: Bed, port: number, number: number): Promise<{ finish(): Promise<number> }> {
  holds += 1;
  const [opened, go] = [join(bed.dir, `held-open-${holds}`), join(bed.dir, `held-go-${holds}`)];
  const words = [underlay.node, String(port), String(number), opened, go];
  const ended = bed.client.tryRun(['python3', '-c', holder, ...words], 100_000);
  await waitFor('the connections to be open', async () => bed.client.run(['ls', opened]), {
    timeoutMs: 10_000,
  });
  return {
    finish: async () => {
      await writeFile(go, '');
      const { stdout, stderr, exitCode } = await ended;
      if (exitCode !== 0) throw new BedError(`the held connections: ${stderr}`);
      return Number(stdout);
    },
  };
}

/** What `/metrics` says of one listener: each series by its name without `mooring_ingress_`, and by its own labels. */
export async function countsOf(bed: Bed, listener: string): Promise<Readonly<Record<string, number>>> {
  const text = await bed.node.run(['curl', '-sSf', '--max-time', '5', 'http://127.0.0.1:9810/metrics']);
  const series = /^mooring_ingress_(\w+)\{listener="([^"]+)",protocol="\w+"(?:,\w+="([^"]+)")?\} (\S+)$/gm;
  return Object.fromEntries(
    [...text.matchAll(series)]
      .filter(([, , name]) => name === listener)
      .map(([, name = '', , label, value]) => [
        label === undefined ? name : `${name} ${label}`,
        Number(value),
      ]),
  );
}

/** Waits until the listener's counts are these; nginx writes a session down within a second. */
export async function waitForCounts(
  bed: Bed,
  listener: string,
  wanted: Readonly<Record<string, number>>,
): Promise<void> {
  let seen: Readonly<Record<string, number>> = {};
  await waitFor(
    `${listener} to have ${JSON.stringify(wanted)}`,
    async () => {
      seen = await countsOf(bed, listener);
      return Object.entries(wanted).every(([name, value]) => seen[name] === value);
    },
    { timeoutMs: 8_000, everyMs: 200, context: async () => JSON.stringify(seen) },
  );
}
