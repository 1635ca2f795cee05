/** The client that plays the internet in front of the node: it knows the node's underlay address and nothing else. */
import { join } from 'node:path';
import { underlay } from './network.ts';
import { BedError, type CommandResult } from './process.ts';
import type { Run } from './run.ts';

const udpProgram = join(import.meta.dirname, 'udp-once.ts');

/** An HTTP answer as the client saw it. */
export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

/** How to ask. `tls` takes any certificate: what is tested is the way there. */
export interface HttpRequest {
  readonly tls?: boolean;
  readonly path?: string;
  readonly host?: string;
  readonly timeoutMs?: number;
}

export class Client {
  readonly #run: Run;
  readonly #netns: string;

  constructor(run: Run, netns: string) {
    this.#run = run;
    this.#netns = netns;
  }

  /** One HTTP request to a port of the node. Throws BedError where no HTTP answer comes. */
  async http(port: number, request: HttpRequest = {}): Promise<HttpAnswer> {
    const timeoutMs = request.timeoutMs ?? 5000;
    const url = `${request.tls === true ? 'https' : 'http'}://${underlay.node}:${port}${request.path ?? '/'}`;
    const host = request.host === undefined ? [] : ['-H', `Host: ${request.host}`];
    const output = await this.run(
      ['curl', '-sSk', '--max-time', String(timeoutMs / 1000), '-w', '\n%{http_code}', ...host, url],
      timeoutMs + 5000,
    );
    const cut = output.lastIndexOf('\n');
    return { status: Number(output.slice(cut + 1)), body: output.slice(0, cut) };
  }

  /** Sends one datagram to a UDP port of the node and returns the first answer. */
  async udpEcho(port: number, text: string, timeoutMs = 3000): Promise<string> {
    return this.run(
      [process.execPath, udpProgram, underlay.node, String(port), text, String(timeoutMs)],
      timeoutMs + 5000,
    );
  }

  /** Runs any command in the client's namespace; throws BedError where it fails. */
  async run(command: readonly string[], timeoutMs = 30_000): Promise<string> {
    const result = await this.tryRun(command, timeoutMs);
    if (result.exitCode === 0) return result.stdout;
    throw new BedError(
      `the client: \`${command.join(' ')}\` ended with ${result.exitCode}: ${result.stderr}`,
    );
  }

  /** As run, but a failure is a result. */
  tryRun(command: readonly string[], timeoutMs = 30_000): Promise<CommandResult> {
    return this.#run.tryRun(command, { netns: this.#netns, part: 'client' }, { timeoutMs });
  }
}
