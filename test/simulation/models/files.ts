/** The disk, and the files of the k3s agent on it. */
import { SystemError } from '../../../src/systems/error.ts';
import type { FileReading } from '../../../src/systems/files/types.ts';
import type { K3sFiles, K3sReading } from '../../../src/systems/k3s/types.ts';

export class DiskModel {
  trouble: 'none' | 'full' | 'read-only' = 'none';

  /** What stands at a path once `text` is written there. */
  written(text: string): FileReading {
    if (this.trouble === 'full') throw new SystemError('disk-full', 'no space left on device');
    if (this.trouble === 'read-only') throw new SystemError('read-only-filesystem', 'it is read-only');
    return { kind: 'present', text, mode: 0o600 };
  }
}

export class K3sFilesModel implements K3sFiles {
  config: FileReading = { kind: 'absent' };
  isTokenInSync = false;
  private readonly disk: DiskModel;
  private readonly changed: () => void;
  private binaryId = '1:1:1';

  /** `changed` is told of everything that an agent takes over at its start. */
  constructor(disk: DiskModel, changed: () => void = () => undefined) {
    this.disk = disk;
    this.changed = changed;
  }

  get binary(): string {
    return this.binaryId;
  }

  replaceBinary(id: string): void {
    this.binaryId = id;
    this.changed();
  }

  async read(): Promise<K3sReading> {
    return {
      binary: this.binary,
      config: this.config,
      token: { kind: 'present', copyInSync: this.isTokenInSync },
    };
  }

  async writeConfig(text: string): Promise<void> {
    this.config = this.disk.written(text);
    this.changed();
  }

  async copyToken(): Promise<void> {
    this.disk.written('');
    this.isTokenInSync = true;
  }
}
