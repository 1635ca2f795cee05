/**
 * What nginx writes down of each session once it has ended, to be counted by `src/systems/nginx/sessions.ts`: one short line,
 * in a file that the unit keeps from growing without end (LimitFSIZE=). Never a client's address.
 *
 * `buffer` and `flush`: a line for each session at once would cost a system call each, some 5 % of what a short session takes;
 * gathered, it is a third of that. Workers that end in order write what they still have.
 * `escape=none`: numbers and the config's own addresses need no escaping, which would be a tenth of what a line costs.
 */

/** Where the lines go. In nginx' own folder: an nginx that was started before there were such lines can write it as well. */
export const sessionLog = '/run/mooring-ingress/sessions.log';

/** Directives of the `stream` block for the entry of this checked name. */
export function sessionFormat(name: string, protocol: 'tcp' | 'udp'): string {
  return `    log_format ${name} escape=none ${name}/${protocol}/$status/$bytes_received/$bytes_sent/$upstream_addr;\n`;
}

/** The directive of its `server` block. */
export function sessionLogging(name: string): string {
  return `access_log ${sessionLog} ${name} buffer=64k flush=1s;`;
}
