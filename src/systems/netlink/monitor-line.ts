/**
 * Understands the lines of `ip -o monitor link address route` (iproute2 6.1 to 6.15) as far as needed: which interfaces a line
 * speaks of. What has changed is never taken from a line.
 */

/** What one line speaks of. */
export interface MonitorLine {
  readonly deleted: boolean;
  readonly about: 'link' | 'address' | 'route';
  /** Only lines about a link or an address carry it. */
  readonly ifindex: number | undefined;
  /** The link's name, or every device that a route names; empty for a route without a device. */
  readonly names: readonly string[];
}

/** `2: eth0: <…`, `5: veth0@veth1: <…`, `2: eth0    inet …`. A parent's name is not part of the name. */
const linkOrAddress = /^(\d+): ([^\s:@]+)(?:@[^\s:]+)?(:| )/;
const routeDevice = /\bdev (\S+)/g;

/** Parses one line without its newline. */
export function parseMonitorLine(line: string): MonitorLine {
  const deleted = line.startsWith('Deleted ');
  const rest = deleted ? line.slice('Deleted '.length) : line;
  const match = linkOrAddress.exec(rest);
  if (match?.[1] !== undefined && match[2] !== undefined) {
    const about = match[3] === ':' ? 'link' : 'address';
    return { deleted, about, ifindex: Number(match[1]), names: [match[2]] };
  }
  return {
    deleted,
    about: 'route',
    ifindex: undefined,
    names: [...rest.matchAll(routeDevice)].flatMap((found) => found[1] ?? []),
  };
}

/**
 * Cuts a stream into lines with bounded memory. A line longer than `maxLength` is given as undefined, once, and dropped.
 */
export function createLineCutter(
  maxLength: number,
  onLine: (line: string | undefined) => void,
): (chunk: string) => void {
  let partial = '';
  let dropping = false;
  return (chunk) => {
    let start = 0;
    for (let end = chunk.indexOf('\n'); end !== -1; end = chunk.indexOf('\n', start)) {
      const tooLong = partial.length + (end - start) > maxLength;
      if (dropping || tooLong) {
        if (!dropping) onLine(undefined);
      } else {
        onLine(partial + chunk.slice(start, end));
      }
      partial = '';
      dropping = false;
      start = end + 1;
    }
    if (dropping) return;
    if (partial.length + (chunk.length - start) > maxLength) {
      partial = '';
      dropping = true;
      onLine(undefined);
    } else {
      partial += chunk.slice(start);
    }
  };
}
