/** The client that plays the internet in front of the node: it knows the node's underlay address and nothing else. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { underlay } from './network.ts';
import { BedError, type CommandResult, waitFor } from './process.ts';
import type { Run } from './run.ts';

const udpProgram = join(import.meta.dirname, 'udp-once.ts');
const knockProgram = join(import.meta.dirname, 'knocking.ts');

/** The doors that the example's config opens. */
export const exampleDoors = { http: 'http:80', https: 'https:443', quic: 'udp:443' } as const;

/** One knock at a door and what came of it. */
export interface Knock {
  readonly door: string;
  readonly ok: boolean;
  /** Unix ms when it began. */
  readonly at: number;
  readonly ms: number;
  /** The start of the answer, or why there is none. */
  readonly said: string;
}

/** Somebody who knocks at all doors, over and over, each time with a new connection. */
export interface Knocking {
  /** Everything so far. */
  knocks(): Promise<readonly Knock[]>;
  /** Waits until each door was knocked at `count` more times, beginning after this call. */
  more(count: number, timeoutMs?: number): Promise<void>;
  /** Ends it and tells everything. */
  stop(): Promise<readonly Knock[]>;
}

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
  readonly #host: string;
  #knockings = 0;

  /** Somebody in a namespace who asks `host`, the node by default. */
  constructor(run: Run, netns: string, host: string = underlay.node) {
    this.#run = run;
    this.#netns = netns;
    this.#host = host;
  }

  /** One HTTP request to a port of the node. Throws BedError where no HTTP answer comes. */
  async http(port: number, request: HttpRequest = {}): Promise<HttpAnswer> {
    const timeoutMs = request.timeoutMs ?? 5000;
    const url = `${request.tls === true ? 'https' : 'http'}://${this.#host}:${port}${request.path ?? '/'}`;
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
      [process.execPath, udpProgram, this.#host, String(port), text, String(timeoutMs)],
      timeoutMs + 5000,
    );
  }

  /** Begins to knock at doors, given as name and `http:PORT`, `https:PORT` or `udp:PORT`. */
  knock(doors: Readonly<Record<string, string>>): Knocking {
    this.#knockings += 1;
    const name = `knocking-${this.#knockings}`;
    const wanted = Object.entries(doors).map(([door, where]) => `${door}=${where}`);
    const command = [process.execPath, knockProgram, this.#host, ...wanted];
    const program = this.#run.start(name, command, { netns: this.#netns, part: name });
    const knocks = async () => readKnocks(await readFile(join(this.#run.dir, `${name}.log`), 'utf8'));
    return {
      knocks,
      more: async (count, timeoutMs = 20_000) => {
        const since = Date.now();
        await waitFor(
          `${count} more knocks at each door`,
          async () => {
            const fresh = (await knocks()).filter(({ at }) => at >= since);
            return Object.keys(doors).every(
              (door) => fresh.filter((knock) => knock.door === door).length >= count,
            );
          },
          { timeoutMs },
        );
      },
      stop: async () => {
        this.#run.killPart(name);
        await program.ended;
        return knocks();
      },
    };
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

/** The last line may be cut off. Anything else that is no knock is what the program complained of. */
function readKnocks(text: string): Knock[] {
  const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
  return lines
    .filter((line) => line !== '')
    .map((line) => {
      if (!line.startsWith('{"door":')) throw new BedError(`whoever knocks says: ${text.slice(0, 2000)}`);
      const knock: Knock = JSON.parse(line);
      return knock;
    });
}
