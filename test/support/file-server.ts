/** Behaviours of a server of one large file, for `startBadHttpServer`: properly with ranges, and in the ways in which such servers misbehave. */
import type { Behaviour } from './bad-http-server.ts';

/** How the file is served. */
export interface FileServing {
  readonly bytes: Buffer;
  /** With its quotes. */
  readonly etag?: string;
  /** Answers with the whole file whatever is asked for. */
  readonly ignoresRange?: boolean;
  /** Resets the connection after so many bytes of a body; told the number of the request, from 0 on. */
  readonly cutAfter?: (request: number) => number | undefined;
}

/** As object stores and nginx serve a file: 206 for a range, 200 where If-Range names another one, 416 beyond the end. */
export function serveFile({ bytes, etag, ignoresRange = false, cutAfter }: FileServing): Behaviour {
  let count = 0;
  return (request, response, socket) => {
    const tag: Readonly<Record<string, string>> = etag === undefined ? {} : { ETag: etag };
    const cut = cutAfter?.(count++);
    const condition = request.headers['if-range'];
    const [, first] = /^bytes=(\d+)-$/.exec(request.headers.range ?? '') ?? [];
    const isRange = first !== undefined && !ignoresRange && (condition === undefined || condition === etag);
    const start = isRange ? Number(first) : 0;
    if (start >= bytes.length) {
      response.writeHead(416, { ...tag, 'Content-Range': `bytes */${bytes.length}` }).end();
      return;
    }
    const body = bytes.subarray(start);
    const range = { 'Content-Range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` };
    response.writeHead(isRange ? 206 : 200, {
      ...tag,
      ...(isRange ? range : {}),
      'Content-Length': body.length,
    });
    if (cut === undefined || cut >= body.length) response.end(body);
    else if (cut === 0) response.flushHeaders();
    else response.write(body.subarray(0, cut), () => socket.resetAndDestroy());
    if (cut === 0) setImmediate(() => socket.resetAndDestroy());
  };
}
