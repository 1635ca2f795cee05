/** flannel's device with its routes: k3s makes it when it joins and never again; it goes with the device below it. */
import type { FlannelReader } from '../../../src/systems/netlink/flannel.ts';
import type { FlannelDevice } from '../../../src/systems/netlink/types.ts';
import type { KernelModel } from './kernel.ts';

/** Pod networks of the other nodes. */
const remotePods: readonly string[] = ['10.42.0.0/24', '10.42.2.0/24'];

export class FlannelModel implements FlannelReader {
  device: FlannelDevice | undefined;
  private nextIfindex = 1001;

  constructor(kernel: KernelModel) {
    kernel.onRemoved((ifindex) => {
      if (this.device?.parentIfindex === ifindex) this.device = undefined;
    });
  }

  create(parentIfindex: number, local: string): void {
    const ifindex = this.nextIfindex++;
    this.device = { name: 'flannel.1', ifindex, parentIfindex, local, routes: remotePods, direct: [] };
  }

  remove(): void {
    this.device = undefined;
  }

  flushRoutes(): void {
    if (this.device !== undefined) this.device = { ...this.device, routes: [] };
  }

  async read(): Promise<readonly FlannelDevice[]> {
    return this.device === undefined ? [] : [this.device];
  }
}
