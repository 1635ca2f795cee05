/** The kernel's limits of new connections: what nft was given is in force. */
import type { FileReading } from '../../../src/systems/files/types.ts';
import type { Limits, LimitsReading } from '../../../src/systems/nginx/limits-types.ts';

export class LimitsModel implements Limits {
  loaded: FileReading = { kind: 'absent' };

  async read(): Promise<LimitsReading> {
    return { installed: true, loaded: this.loaded };
  }

  async load(text: string): Promise<void> {
    this.loaded = { kind: 'present', text, mode: 0o644 };
  }

  async remove(): Promise<void> {
    this.loaded = { kind: 'absent' };
  }
}
