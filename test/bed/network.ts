/**
 * The wires: one /24 on a bridge in a namespace of its own, and on it the node, home, and a client that plays the
 * internet, each with an interface named eth0. Nothing touches the host's own interfaces.
 */
import type { Run } from './run.ts';

/** The ends of the underlay. */
export type End = 'node' | 'home' | 'client';

/** Their addresses, fixed: tests and configs name them. */
export const underlay = { home: '10.99.0.1', node: '10.99.0.2', client: '10.99.0.9' } as const;

export class Network {
  readonly #run: Run;

  private constructor(run: Run) {
    this.#run = run;
  }

  /** Makes the namespaces and wires them. The node's own end stays down and bare: its networkd brings it up. */
  static async create(run: Run): Promise<Network> {
    const network = new Network(run);
    const wire = network.#name('wire');
    await network.#ip('netns', 'add', wire);
    await network.#ip('-n', wire, 'link', 'add', 'br0', 'type', 'bridge', 'forward_delay', '0');
    await network.#ip('-n', wire, 'link', 'set', 'br0', 'up');
    for (const end of ['node', 'home', 'client'] as const) await network.#attach(end);
    return network;
  }

  /** Name of the namespace of an end. */
  netns(end: End): string {
    return this.#name(end);
  }

  /** Takes an end off the bridge. Nobody's carrier drops: packets vanish, as behind a dead router. */
  async cut(end: End): Promise<void> {
    await this.#ip('-n', this.#name('wire'), 'link', 'set', `to-${end}`, 'nomaster');
  }

  /** Puts it back. */
  async heal(end: End): Promise<void> {
    await this.#ip('-n', this.#name('wire'), 'link', 'set', `to-${end}`, 'master', 'br0');
  }

  async #attach(end: End): Promise<void> {
    const netns = this.#name(end);
    const wire = this.#name('wire');
    await this.#ip('netns', 'add', netns);
    await this.#ip(
      '-n',
      wire,
      'link',
      'add',
      `to-${end}`,
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      netns,
    );
    await this.#ip('-n', wire, 'link', 'set', `to-${end}`, 'master', 'br0');
    await this.#ip('-n', wire, 'link', 'set', `to-${end}`, 'up');
    if (end === 'node') return;
    await this.#ip('-n', netns, 'link', 'set', 'lo', 'up');
    await this.#ip('-n', netns, 'addr', 'add', `${underlay[end]}/24`, 'dev', 'eth0');
    await this.#ip('-n', netns, 'link', 'set', 'eth0', 'up');
  }

  #name(end: End | 'wire'): string {
    return `${this.#run.id}-${end}`;
  }

  async #ip(...args: string[]): Promise<void> {
    await this.#run.run(['ip', ...args], { part: 'setup' });
  }
}
