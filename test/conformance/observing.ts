/** The near end of observer.ts: starts it inside a namespace, asks it, and ends it with this process at the latest. */
import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import type { Answer, Place, Request } from './observer.ts';
import type { Act, Seen, Side } from './side.ts';

/** Longer than any adapter's own deadline. */
const deadlineMs = 20_000;

/** The real side of a comparison. */
export class Observer implements Side {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #next = 0;

  constructor(netns: string, place: Place) {
    this.#child = fork(join(import.meta.dirname, 'observer.ts'), [JSON.stringify(place)], {
      execPath: '/usr/bin/env',
      execArgv: ['ip', 'netns', 'exec', netns, process.execPath],
      // JSON would lose what is undefined.
      serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#child.on('message', ({ id, answer }: { id: number; answer: Answer }) => {
      this.#waiting.get(id)?.(answer);
      this.#waiting.delete(id);
    });
  }

  async look(): Promise<Seen> {
    const answer = await this.#ask('look');
    if (answer.kind === 'seen') return answer.seen;
    throw new Error(`the observer cannot look: ${JSON.stringify(answer)}`);
  }

  async act(act: Act): Promise<string | undefined> {
    const answer = await this.#ask(act);
    if (answer.kind === 'acted') return answer.code;
    throw new Error(`the observer cannot act: ${JSON.stringify(answer)}`);
  }

  close(): void {
    this.#child.kill('SIGKILL');
  }

  #ask(request: Request): Promise<Answer> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('the observer does not answer')), deadlineMs);
      this.#waiting.set(id, (answer) => {
        clearTimeout(timer);
        resolve(answer);
      });
      this.#child.send({ id, request });
    });
  }
}
