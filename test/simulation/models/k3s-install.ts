/** The pinned k3s and the mirror that it comes from. A binary's identity stands for its hash. */
import type { InstallReading, K3sInstall, PinnedWork } from '../../../src/systems/k3s/types.ts';
import type { Random } from '../../support/random.ts';
import type { VirtualClock } from '../clock.ts';
import type { DiskModel, K3sFilesModel } from './files.ts';

export class K3sInstallModel implements K3sInstall {
  /** What the config pins; nothing until somebody does. */
  pinned: string | undefined;
  /** `cut`: each connection ends early, having brought some more. */
  mirror: 'fine' | 'cut' | 'away' | 'wrong' = 'fine';
  private readonly clock: VirtualClock;
  private readonly random: Random;
  private readonly files: K3sFilesModel;
  private readonly disk: DiskModel;
  private readonly ended: () => void;
  private work: PinnedWork | undefined;
  private run = 0;

  constructor(
    clock: VirtualClock,
    random: Random,
    { files, disk, ended }: { files: K3sFilesModel; disk: DiskModel; ended: () => void },
  ) {
    this.clock = clock;
    this.random = random;
    this.files = files;
    this.disk = disk;
    this.ended = ended;
  }

  /** Another config; what was under way ends. */
  pin(id: string): void {
    this.pinned = id;
    this.restart();
  }

  /** Another daemon knows nothing of what the former one did. */
  restart(): void {
    this.run += 1;
    this.work = undefined;
  }

  async read(): Promise<InstallReading> {
    if (this.pinned === undefined) return { kind: 'off' };
    const state = this.files.binary === this.pinned ? 'in-place' : 'other';
    const file = { name: 'binary', path: '/usr/local/bin/k3s', sha256: this.pinned, state } as const;
    return { kind: 'pinned', version: 'v1.36.3+k3s1', files: [{ ...file, work: this.work }] };
  }

  fetch(): void {
    if (this.work?.kind === 'fetching') return;
    const run = ++this.run;
    this.work = { kind: 'fetching', bytes: 0, totalBytes: undefined };
    this.clock.after(this.random.between(200, 20_000), () => {
      if (run !== this.run) return;
      this.work = this.failure();
      if (this.work === undefined && this.pinned !== undefined) this.files.replaceBinary(this.pinned);
      this.ended();
    });
  }

  private failure(): PinnedWork | undefined {
    const failed = { kind: 'failed', message: this.mirror, retryAfterMs: undefined, gained: false } as const;
    if (this.disk.trouble !== 'none') return { ...failed, code: 'disk-full' };
    switch (this.mirror) {
      case 'fine':
        return undefined;
      case 'cut':
        return { ...failed, code: 'cut', gained: this.random.chance(0.7) };
      case 'away':
        return { ...failed, code: 'unreachable' };
      case 'wrong':
        return { ...failed, code: 'wrong-hash' };
      default:
        return this.mirror satisfies never;
    }
  }
}
