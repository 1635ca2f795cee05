/**
 * Runs inside a network namespace of the lab and does there what a test asks over IPC: one HTTP request, a TCP
 * sink, a TCP stream. Every request is answered exactly once, failures as `error`.
 */
import http from 'node:http';
import net from 'node:net';

export type AgentRequest =
  | {
      readonly kind: 'http';
      readonly host: string;
      readonly port: number;
      readonly method: string;
      readonly path: string;
      readonly headers: Readonly<Record<string, string>>;
      readonly body: string | undefined;
      readonly timeoutMs: number;
    }
  | { readonly kind: 'sink'; readonly host: string; readonly port: number }
  | {
      readonly kind: 'stream';
      readonly host: string;
      readonly port: number;
      readonly bytes: number;
      readonly timeoutMs: number;
    };

export interface AgentAnswer {
  readonly status: number;
  readonly contentType: string | undefined;
  readonly body: string;
  readonly elapsedMs: number;
  readonly error?: string;
}

function httpRequest(request: AgentRequest & { kind: 'http' }): Promise<AgentAnswer> {
  const startedMs = performance.now();
  return new Promise((resolve, reject) => {
    const { host, port, method, path } = request;
    const headers = { ...request.headers };
    if (request.body !== undefined) headers['Content-Length'] = String(Buffer.byteLength(request.body));
    const call = http.request({ host, port, method, path, headers, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => {
        body += part;
      });
      response.on('error', reject);
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          contentType: response.headers['content-type'],
          body,
          elapsedMs: performance.now() - startedMs,
        }),
      );
    });
    call.setTimeout(request.timeoutMs, () => call.destroy(new Error('timeout')));
    call.on('error', reject);
    // Without this Node would announce an empty body by itself; a test of the missing length must not.
    if (!('Content-Length' in headers)) call.removeHeader('content-length');
    call.useChunkedEncodingByDefault = false;
    call.end(request.body);
  });
}

/** Listens once, answers the first client with the number of bytes it sent. */
function sink(request: AgentRequest & { kind: 'sink' }): Promise<AgentAnswer> {
  return new Promise((resolve, reject) => {
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      let bytes = 0;
      socket.on('data', (part) => {
        bytes += part.length;
      });
      socket.on('error', () => server.close());
      socket.on('end', () => {
        socket.end(String(bytes));
        server.close();
      });
    });
    server.on('error', reject);
    server.listen(request.port, request.host, () =>
      resolve({ status: 0, contentType: undefined, body: '', elapsedMs: 0 }),
    );
  });
}

function stream(request: AgentRequest & { kind: 'stream' }): Promise<AgentAnswer> {
  const startedMs = performance.now();
  return new Promise((resolve, reject) => {
    const socket = net.connect(request.port, request.host, () =>
      socket.end(Buffer.alloc(request.bytes, 120)),
    );
    let body = '';
    socket.setTimeout(request.timeoutMs, () => socket.destroy(new Error('timeout')));
    socket.on('data', (part) => {
      body += part.toString();
    });
    socket.on('error', reject);
    socket.on('end', () =>
      resolve({ status: 0, contentType: undefined, body, elapsedMs: performance.now() - startedMs }),
    );
  });
}

function serve(request: AgentRequest): Promise<AgentAnswer> {
  switch (request.kind) {
    case 'http':
      return httpRequest(request);
    case 'sink':
      return sink(request);
    case 'stream':
      return stream(request);
  }
}

process.on('message', (message: { id: number; request: AgentRequest }) => {
  serve(message.request).then(
    (answer) => process.send?.({ id: message.id, answer }),
    (error: unknown) => {
      const text = error instanceof Error ? error.message : String(error);
      const answer = { status: 0, contentType: undefined, body: '', elapsedMs: 0, error: text };
      process.send?.({ id: message.id, answer });
    },
  );
});
process.on('disconnect', () => process.exit(0));
