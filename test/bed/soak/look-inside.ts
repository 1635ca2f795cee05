/**
 * Looks into a running Node.js through its inspector (opened by SIGUSR1, which every Node.js answers): memory after a
 * collection, and how many listeners all its emitters and signals have. Started by the soak in the node's network
 * namespace, once for each look, so that nothing of the look stays. Prints one line of JSON.
 */
const inspector = 'http://127.0.0.1:9229/json/list';
const deadlineMs = 20_000;

/** What one look tells. */
export interface Inside {
  readonly heapBytes: number;
  /** Outside the heap, and bound to objects in it: buffers and the like. */
  readonly externalBytes: number;
  /** Listeners of every EventEmitter that is alive, and of every AbortSignal. */
  readonly listeners: number;
  /** Timers, sockets, processes and the like that keep Node.js running. */
  readonly resources: number;
}

type Call = (method: string, params?: Readonly<Record<string, unknown>>) => Promise<unknown>;

async function look(): Promise<Inside> {
  const listed: unknown = await (await fetch(inspector, { signal: AbortSignal.timeout(deadlineMs) })).json();
  const first: unknown = Array.isArray(listed) ? listed[0] : undefined;
  const socket = new WebSocket(String(member(first, 'webSocketDebuggerUrl')));
  await new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve, { once: true });
    socket.addEventListener('error', () => reject(new Error('the inspector refuses')), { once: true });
  });
  try {
    const call = caller(socket);
    // The second finds what finalizers of the first let go.
    await call('HeapProfiler.collectGarbage');
    await call('HeapProfiler.collectGarbage');
    const usage = await value(call, 'process.memoryUsage()');
    const resources = await value(call, 'process.getActiveResourcesInfo().length');
    const emitters = await count(
      call,
      "process.getBuiltinModule('node:events').EventEmitter.prototype",
      'one.eventNames().reduce((sum, name) => sum + one.listenerCount(name), 0)',
    );
    const signals = await count(
      call,
      'AbortSignal.prototype',
      "process.getBuiltinModule('node:events').getEventListeners(one, 'abort').length",
    );
    return {
      heapBytes: Number(member(usage, 'heapUsed')),
      externalBytes: Number(member(usage, 'external')),
      listeners: emitters + signals,
      resources: Number(resources),
    };
  } finally {
    socket.close();
  }
}

/** Calls of the Chrome DevTools Protocol over the socket. */
function caller(socket: WebSocket): Call {
  let lastId = 0;
  return (method, params = {}) =>
    new Promise((resolve, reject) => {
      lastId += 1;
      const id = lastId;
      const onMessage = ({ data }: MessageEvent) => {
        const answer: unknown = JSON.parse(String(data));
        if (member(answer, 'id') !== id) return;
        socket.removeEventListener('message', onMessage);
        const error = member(answer, 'error') ?? member(member(answer, 'result'), 'exceptionDetails');
        if (error === undefined) resolve(member(answer, 'result'));
        else reject(new Error(`${method}: ${JSON.stringify(error)}`));
      };
      socket.addEventListener('message', onMessage);
      socket.send(JSON.stringify({ id, method, params }));
    });
}

async function value(call: Call, expression: string): Promise<unknown> {
  const answer = await call('Runtime.evaluate', { expression, returnByValue: true });
  return member(member(answer, 'result'), 'value');
}

/** The sum of `ofOne` over all living objects with this prototype. One whose prototype is only half an object counts 0. */
async function count(call: Call, prototype: string, ofOne: string): Promise<number> {
  const objectGroup = 'soak';
  const found = await call('Runtime.evaluate', { expression: prototype, objectGroup });
  const prototypeObjectId = member(member(found, 'result'), 'objectId');
  const all = await call('Runtime.queryObjects', { prototypeObjectId, objectGroup });
  const sum = await call('Runtime.callFunctionOn', {
    objectId: member(member(all, 'objects'), 'objectId'),
    returnByValue: true,
    functionDeclaration: `function () {
      let sum = 0;
      for (const one of this) try { sum += ${ofOne}; } catch {}
      return sum;
    }`,
  });
  await call('Runtime.releaseObjectGroup', { objectGroup });
  return Number(member(member(sum, 'result'), 'value'));
}

function member(object: unknown, key: string): unknown {
  return typeof object === 'object' && object !== null ? Reflect.get(object, key) : undefined;
}

if (import.meta.main) {
  setTimeout(() => process.exit(1), deadlineMs).unref();
  process.stdout.write(`${JSON.stringify(await look())}\n`);
}
