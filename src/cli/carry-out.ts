/** What each action of the brain asks of which system. */
import type { Action } from '../agent/actions.ts';
import type { Controller } from '../systems/controller/types.ts';
import type { K3sFiles, K3sInstall } from '../systems/k3s/types.ts';
import type { Limits } from '../systems/nginx/limits-types.ts';
import type { Nginx } from '../systems/nginx/types.ts';
import type { Resolved } from '../systems/resolved/types.ts';
import type { Systemd } from '../systems/systemd/types.ts';
import type { ZeroTier } from '../systems/zerotier/types.ts';

/** The systems that can be asked for something: the real ones, or models of them. */
export interface Driven {
  readonly zerotier: ZeroTier;
  readonly controller: Controller;
  readonly resolved: Pick<Resolved, 'set' | 'revert'>;
  readonly systemd: Systemd;
  readonly k3s: K3sFiles;
  readonly install: K3sInstall;
  readonly nginx: Nginx;
  readonly limits: Limits;
}

/** Carries an action out. Throws what the system throws. */
export async function carryOut(
  action: Action,
  { zerotier, controller, resolved, systemd, k3s, install, nginx, limits }: Driven,
): Promise<void> {
  switch (action.do) {
    case 'zerotier.join':
      return zerotier.join(action.network);
    case 'zerotier.rejoin':
      return zerotier.rejoin(action.network);
    case 'zerotier.blacklist':
      return zerotier.setInterfacePrefixBlacklist(action.prefixes);
    case 'controller.look':
      return controller.look(action.network, action.member);
    case 'controller.authorize':
      return controller.change(action.network, action.member, action.change);
    case 'dns.set':
      await resolved.set(action.ifindex, action.want);
      return;
    case 'dns.revert':
      return resolved.revert(action.ifindex);
    case 'k3s.write-config':
      return k3s.writeConfig(action.text);
    case 'k3s.copy-token':
      return k3s.copyToken();
    case 'k3s.fetch':
      return install.fetch(action.file);
    // What mooring asks for is within its own budget: it must neither be refused by the unit's start limit, which is for
    // the restarts that systemd makes by itself, nor use that up.
    case 'unit.start':
      await systemd.resetFailed(action.unit);
      return systemd.start(action.unit);
    case 'unit.restart':
      await systemd.resetFailed(action.unit);
      return systemd.restart(action.unit);
    case 'unit.reload':
      return systemd.reload(action.unit);
    case 'unit.stop':
      return systemd.stop(action.unit);
    case 'ingress.replace':
      return nginx.replace(action.text);
    case 'ingress.renew':
      return nginx.renew();
    case 'ingress.keep':
      return nginx.keep();
    case 'ingress.restore':
      return nginx.restore();
    case 'limits.load':
      return limits.load(action.text);
    case 'limits.remove':
      return limits.remove();
    default:
      return action satisfies never;
  }
}
