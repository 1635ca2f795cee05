/** The D-Bus daemon: without it neither systemd nor resolved can be asked, and neither tells anything. */
import { SystemError } from '../../../src/systems/error.ts';

export class BusModel {
  private up = true;
  private readonly listeners: ((isUp: boolean) => void)[] = [];

  get isUp(): boolean {
    return this.up;
  }

  /** Told each time that it goes or comes, for good. */
  onTurned(listener: (isUp: boolean) => void): void {
    this.listeners.push(listener);
  }

  turn(isUp: boolean): void {
    if (isUp === this.up) return;
    this.up = isUp;
    for (const listener of this.listeners) listener(isUp);
  }

  /** Throws what the adapters throw while the connection is away. */
  need(): void {
    if (!this.isUp) throw new SystemError('dbus-disconnected', 'no bus');
  }
}
