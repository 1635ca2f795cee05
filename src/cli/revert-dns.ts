/** `mooring revert-dns`: takes back the per-link DNS that mooring set; the package calls it on removal. */
import { parseMemory } from '../agent/memory.ts';
import { createBus } from '../systems/dbus/bus.ts';
import { messageOf } from '../systems/error.ts';
import { loadJson } from '../systems/files/json-file.ts';
import { createNetlink } from '../systems/netlink/netlink.ts';
import { createResolved } from '../systems/resolved/resolved.ts';
import { type CliContext, exitCode } from './context.ts';
import { paths } from './paths.ts';

const ignore = () => undefined;

/** Reverts each device that still has the ifindex of that time; a later device of the same name is not mooring's. */
export async function revertDns(context: CliContext): Promise<number> {
  const memory = parseMemory(await loadJson(paths.memory));
  if (memory === undefined) return exitCode.fine;
  const links = await createNetlink({ wake: ignore, log: ignore, interesting: () => false }).read();
  const bus = createBus({ matches: [], wake: ignore, log: ignore });
  let code: number = exitCode.fine;
  try {
    const resolved = createResolved({ bus, wake: ignore });
    for (const [device, ifindex] of Object.entries(memory.dnsSet)) {
      if (links[device]?.ifindex !== ifindex) continue;
      try {
        await resolved.revert(ifindex);
        context.print(`reverted the DNS of ${device}`);
      } catch (error) {
        context.complain(`could not revert the DNS of ${device}: ${messageOf(error)}`);
        code = exitCode.notFine;
      }
    }
  } finally {
    bus.close();
  }
  return code;
}
