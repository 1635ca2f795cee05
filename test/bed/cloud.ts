/**
 * The cloud that a node of the bed is at. Its metadata service runs in the client's namespace, to which the node has a route: in the
 * node's own it would hold port 80 against the ingress. The firmware is faked for mooring alone, inside its unit: a container
 * has that of the host. cloud-init knows that it is in a container and reads no firmware at all, so it gets its user data by NoCloud.
 */
import { join } from 'node:path';
import type { MetadataCloud } from '../support/metadata/clouds.ts';
import { firmware } from '../support/metadata/firmware.ts';
import type { Changes } from '../support/metadata/service.ts';
import type { BedNode } from './node.ts';
import { waitFor } from './process.ts';
import type { Run } from './run.ts';

const address = '169.254.169.254';
const program = join(import.meta.dirname, 'standins/metadata/metadata.ts');
const firmwareFolder = '/var/lib/bed-firmware';

export class BedCloud {
  readonly #run: Run;
  readonly #netns: string;
  #isUp = false;

  constructor(run: Run, netns: string) {
    this.#run = run;
    this.#netns = netns;
  }

  /** Starts the metadata service of an instance with these changes, and EC2's API where they give it a role. */
  async start(cloud: MetadataCloud, changes: Changes = {}): Promise<void> {
    const place = { netns: this.#netns, part: 'metadata' };
    await this.#run.run(['ip', 'addr', 'add', `${address}/32`, 'dev', 'lo'], place);
    this.#isUp = true;
    const words = [program, cloud, address, JSON.stringify(changes)];
    const service = this.#run.start('metadata', [process.execPath, ...words], place);
    const ask = ['curl', '-s', '-o', '/dev/null', `http://${address}/`];
    await waitFor('the metadata service', async () => (await this.#run.tryRun(ask, place)).exitCode === 0, {
      timeoutMs: 10_000,
      context: () => service.log(),
    });
  }

  /** Changes the instance while its service runs. */
  async change(changes: Changes): Promise<void> {
    const post = ['curl', '-sSf', '--data', JSON.stringify(changes), `http://${address}:8081/`];
    await this.#run.run(post, { netns: this.#netns, part: 'metadata-change' });
  }

  /** Takes the metadata service away: nobody answers at its address any more. Safe to repeat. */
  async stop(): Promise<void> {
    if (!this.#isUp) return;
    this.#isUp = false;
    await this.#run.run(['ip', 'addr', 'del', `${address}/32`, 'dev', 'lo'], {
      netns: this.#netns,
      part: 'setup',
    });
    this.#run.killPart('metadata');
  }
}

/** Gives a node that is off the firmware of this cloud. */
export async function setFirmware(node: BedNode, cloud: MetadataCloud): Promise<void> {
  const folder = `${firmwareFolder}/${cloud}`;
  for (const [field, value] of Object.entries(firmware[cloud]))
    await node.prepareFile(`${folder}/${field}`, `${value}\n`);
  // /sys/class has no dmi in a container, and nothing can be made there: a copy of it with what mooring needs.
  const lines = [
    'TemporaryFileSystem=/sys/class:ro',
    `BindReadOnlyPaths=/sys/class/net ${folder}:/sys/class/dmi/id`,
  ];
  await node.prepareFile(
    '/etc/systemd/system/mooring.service.d/50-firmware.conf',
    `[Service]\n${lines.join('\n')}\n`,
  );
}
