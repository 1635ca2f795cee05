/** The ports of the ingress as the kernel has them: nginx' own sockets, and the one that somebody else took. */
import { listensOf } from '../../../src/agent/render/nginx-listens.ts';
import type { Doors, DoorsAim, DoorsReading } from '../../../src/systems/doors/types.ts';
import { generationOf, type NginxModel } from './nginx.ts';

export class DoorsModel implements Doors {
  private readonly nginx: NginxModel;
  private wanted: DoorsAim = { holdersOf: [], tried: [], servedBy: undefined };

  constructor(nginx: NginxModel) {
    this.nginx = nginx;
  }

  aim(aim: DoorsAim): void {
    this.wanted = aim;
  }

  async read(): Promise<DoorsReading> {
    const { holdersOf } = this.wanted;
    if (holdersOf.length === 0) return { holders: undefined, redirected: [] };
    const { config, kept, served, isPortTaken } = this.nginx;
    const texts = [config.kind === 'present' ? config.text : '', kept ?? ''];
    const own = texts.find((text) => served !== undefined && generationOf(text) === served);
    const foreign = { protocol: 'tcp', address: '0.0.0.0', port: 443, user: 'root', sockets: 1 } as const;
    const all = [
      ...listensOf(own ?? '').map((listen) => ({ ...listen, user: 'root', sockets: 1 })),
      ...(isPortTaken ? [foreign] : []),
    ];
    const holders = all.filter(({ port }) => holdersOf.some((listen) => listen.port === port));
    return { holders, redirected: [] };
  }
}
