/** Log lines for the journal. */

/** Levels as syslog names them. */
export type LogLevel = 'debug' | 'info' | 'warning' | 'error';

/** Writes one line. Callers never pass secrets. */
export type Log = (level: LogLevel, message: string) => void;

const priority: Readonly<Record<LogLevel, number>> = { debug: 7, info: 6, warning: 4, error: 3 };

/** Lines on standard output with the priority prefix that journald reads (sd-daemon(3)). */
export const journalLog: Log = (level, message) => {
  process.stdout.write(`<${priority[level]}>${message.replace(/\p{Cc}+/gu, ' ')}\n`);
};
