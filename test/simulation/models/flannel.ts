/**
 * flannel's device with its routes: k3s makes both when it joins, and never again what somebody removed; the device goes with
 * the one below it, a route with its node.
 */
import type { FlannelReader } from '../../../src/systems/netlink/flannel.ts';
import type { FlannelDevice } from '../../../src/systems/netlink/types.ts';
import type { KernelModel } from './kernel.ts';

export class FlannelModel implements FlannelReader {
  device: FlannelDevice | undefined;
  private nextIfindex = 1001;
  private readonly remotes: () => readonly string[];

  /** `remotes` are the pod networks of the other nodes. */
  constructor(kernel: KernelModel, remotes: () => readonly string[]) {
    this.remotes = remotes;
    kernel.onRemoved((ifindex) => {
      if (this.device?.parentIfindex === ifindex) this.device = undefined;
    });
  }

  create(parentIfindex: number, local: string): void {
    const ifindex = this.nextIfindex++;
    const routes = this.remotes();
    this.device = { name: 'flannel.1', ifindex, parentIfindex, local, routes, direct: [] };
  }

  remove(): void {
    this.device = undefined;
  }

  addRoute(network: string): void {
    this.removeRoute(network);
    if (this.device !== undefined) this.device = { ...this.device, routes: [...this.device.routes, network] };
  }

  removeRoute(network: string): void {
    if (this.device !== undefined)
      this.device = { ...this.device, routes: this.device.routes.filter((one) => one !== network) };
  }

  flushRoutes(): void {
    if (this.device !== undefined) this.device = { ...this.device, routes: [] };
  }

  async read(): Promise<readonly FlannelDevice[]> {
    return this.device === undefined ? [] : [this.device];
  }
}
