/** Asks the running mooring over its unix socket. */
import { request } from 'node:http';
import { codeOf, messageOf, SystemError } from '../error.ts';

const maxBytes = 4 * 1024 * 1024;

/** GETs a page. Throws SystemError `mooring-not-running` or `mooring-no-answer`. */
export function askMooring(
  socketPath: string,
  path: string,
  deadlineMs: number,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const ask = request(
      { socketPath, path, agent: false, signal: AbortSignal.timeout(deadlineMs) },
      (response) => {
        const chunks: Buffer[] = [];
        let length = 0;
        response.on('data', (chunk: Buffer) => {
          length += chunk.length;
          if (length > maxBytes) response.destroy(new Error('the answer is too long'));
          else chunks.push(chunk);
        });
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
        );
        response.on('error', fail);
      },
    );
    function fail(error: unknown): void {
      const code = codeOf(error);
      const isAway = code === 'ENOENT' || code === 'ECONNREFUSED';
      reject(
        isAway
          ? new SystemError(
              'mooring-not-running',
              `mooring does not run (${socketPath}): systemctl start mooring`,
              { cause: error },
            )
          : new SystemError(
              'mooring-no-answer',
              `mooring does not answer on ${socketPath}: ${messageOf(error)}`,
              { cause: error },
            ),
      );
    }
    ask.on('error', fail);
    ask.end();
  });
}
