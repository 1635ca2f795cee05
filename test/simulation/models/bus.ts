/** The D-Bus daemon: without it neither systemd nor resolved can be asked, and neither tells anything. */
import { SystemError } from '../../../src/systems/error.ts';

export class BusModel {
  isUp = true;

  /** Throws what the adapters throw while the connection is away. */
  need(): void {
    if (!this.isUp) throw new SystemError('dbus-disconnected', 'no bus');
  }
}
