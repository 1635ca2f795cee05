/** Virtual time: events in order, and after each one every promise that it woke runs to its next wait. */

interface Event {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

/** So many events, and the process looks after its timers and signals. */
const breathAfter = 10_000;

export class VirtualClock {
  nowMs = 0;
  /** Added to the wall clock: a jump of it must change nothing. */
  wallOffsetMs = 0;
  private readonly events: Event[] = [];
  private order = 0;
  private run = 0;

  at(atMs: number, run: () => void): void {
    const event = { atMs: Math.max(atMs, this.nowMs), order: this.order++, run };
    let index = this.events.length;
    while (index > 0 && later(this.events[index - 1], event)) index -= 1;
    this.events.splice(index, 0, event);
  }

  after(delayMs: number, run: () => void): void {
    this.at(this.nowMs + delayMs, run);
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.after(delayMs, resolve));
  }

  /** Runs all events up to `endMs`; `step` is called after each. Stops early when `step` returns false. */
  async runUntil(endMs: number, step: () => boolean): Promise<void> {
    for (;;) {
      const [event] = this.events;
      if (event === undefined || event.atMs > endMs) break;
      this.events.shift();
      this.nowMs = event.atMs;
      event.run();
      await settled();
      this.run += 1;
      if (this.run % breathAfter === 0) await new Promise((resolve) => setImmediate(resolve));
      if (!step()) return;
    }
    this.nowMs = endMs;
  }
}

/**
 * Resolves when every promise that can go on has. A tick that is queued from a promise's continuation runs once there is no
 * continuation left (Node.js empties both queues in turn), which costs a tenth of a turn of the event loop.
 */
async function settled(): Promise<void> {
  await Promise.resolve();
  await new Promise<void>((resolve) => process.nextTick(resolve));
}

function later(left: Event | undefined, right: Event): boolean {
  return (
    left !== undefined && (left.atMs > right.atMs || (left.atMs === right.atMs && left.order > right.order))
  );
}
