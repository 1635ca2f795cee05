/**
 * A booted node of the bed, bare of everything but Debian: a real kernel, systemd, D-Bus and resolved, with mooring's adapters
 * looking at it from inside its network namespace. Whatever `boot` began, `end` ends.
 */
import { Network } from '../bed/network.ts';
import { BedNode } from '../bed/node.ts';
import { ensureNodeBase, type Suite } from '../bed/root.ts';
import { Run } from '../bed/run.ts';
import { Observer } from './observing.ts';
import type { Scope } from './side.ts';

/** A file of the node's root, there before it boots. */
export interface RootFile {
  readonly path: string;
  readonly text: string;
  readonly mode?: number;
}

export class RealNode {
  readonly #run: Run;
  readonly #netns: string;
  readonly #node: BedNode;

  private constructor(run: Run, netns: string, node: BedNode) {
    this.#run = run;
    this.#netns = netns;
    this.#node = node;
  }

  static async boot(files: readonly RootFile[], suite: Suite = 'trixie'): Promise<RealNode> {
    const run = Run.open();
    try {
      const base = await ensureNodeBase(suite, run);
      const network = await Network.create(run);
      const netns = network.netns('node');
      const node = await BedNode.create(run, base, netns, { hostname: 'node1', userData: undefined });
      await node.prepareFile('/etc/cloud/cloud-init.disabled', '');
      for (const { path, text, mode } of files) await node.prepareFile(path, text, mode);
      await node.boot();
      // Whether all of Debian's own units came up is no matter here.
      await node.tryRun(['systemctl', 'is-system-running', '--wait']);
      return new RealNode(run, netns, node);
    } catch (error) {
      run.end();
      throw error;
    }
  }

  /** mooring's adapters on this node; the caller closes them. */
  observe(scope: Scope): Observer {
    const busAddress = `unix:path=/proc/${this.#node.initPid}/root/run/dbus/system_bus_socket`;
    return new Observer(this.#netns, { ...scope, busAddress });
  }

  /** Runs shell inside the node. */
  run(script: string): Promise<string> {
    return this.#node.run(script);
  }

  end(): void {
    this.#run.end();
  }
}
