/**
 * Asks the node's resolved several times a second for a link's servers and for a name of home, past all caches, and
 * notes each time that either was missing. It runs as a unit of its own inside the node, so that nothing that a test
 * does to mooring touches it.
 */
import type { BedNode } from './node.ts';
import { waitFor } from './process.ts';

const unit = 'dns-sampler.service';
const scriptFile = '/run/dns-sampler.sh';
const logFile = '/run/dns-sampler.log';

/** `sh dns-sampler.sh DEVICE SERVER NAME`: one line a sample, `ok` or `lapse: …`. */
const script = `while :; do
  servers=$(resolvectl dns "$1" 2>&1)
  case "$servers " in
    *" $2 "*)
      if answer=$(resolvectl query --cache=no "$3" 2>&1); then echo ok
      else echo "lapse: $3: $answer" | tr '\\n' ' '; echo
      fi ;;
    *) echo "lapse: servers of $1: $servers" ;;
  esac
  sleep 0.05
done
`;

export class DnsSampler {
  readonly #node: BedNode;

  private constructor(node: BedNode) {
    this.#node = node;
  }

  /** Starts sampling and returns after the first sample. */
  static async start(node: BedNode, device: string, server: string, name: string): Promise<DnsSampler> {
    await node.writeFile(scriptFile, script);
    await node.run(['rm', '-f', logFile]);
    await node.run([
      ...[
        'systemd-run',
        '--quiet',
        '--collect',
        `--unit=${unit}`,
        `--property=StandardOutput=append:${logFile}`,
      ],
      ...['sh', scriptFile, device, server, name],
    ]);
    const sampler = new DnsSampler(node);
    await sampler.more(1);
    return sampler;
  }

  /** Waits until `count` more samples were taken. */
  async more(count: number): Promise<void> {
    const before = (await this.#lines()).length;
    await waitFor(`${count} samples of the DNS`, async () => (await this.#lines()).length >= before + count, {
      timeoutMs: 30_000,
    });
  }

  /** What was missing so far. */
  async lapses(): Promise<string[]> {
    return (await this.#lines()).filter((line) => line !== 'ok');
  }

  async stop(): Promise<void> {
    await this.#node.run(['systemctl', 'stop', unit]);
  }

  async #lines(): Promise<string[]> {
    const text = await this.#node.run(['cat', logFile]);
    // The last line may be half written.
    return text.split('\n').slice(0, -1);
  }
}
