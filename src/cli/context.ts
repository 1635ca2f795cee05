/** What main.ts hands to every verb. */

/** Exit codes that users and units rely on. */
export const exitCode = { fine: 0, notFine: 1, usage: 2, badConfig: 78 } as const;

/** One invocation. A verb returns its exit code and never calls process.exit. */
export interface CliContext {
  /** `--config`, by default /etc/mooring/config.yaml. Its drop-ins are in `config.d` beside it. */
  readonly configFile: string;
  /** Flags of the verb, such as `json`; a flag that was not given is absent. */
  readonly flags: Readonly<Record<string, string | boolean>>;
  /** Writes a line to standard output. */
  readonly print: (line: string) => void;
  /** Writes a line to standard error. */
  readonly complain: (line: string) => void;
}
