/**
 * Everything the brain can ask for. An action is plain data: it can be shown, compared, simulated, and carries no
 * secret. Actions of one stage are carried out in order, stages beside each other.
 */
import type { MemberChange } from '../systems/controller/types.ts';
import type { LinkDns } from '../systems/resolved/types.ts';

/** The stages in the order in which they depend on each other. */
export const stageNames = ['zerotier', 'link', 'dns', 'k3s', 'ingress'] as const;
export type StageName = (typeof stageNames)[number];

/** Why a unit is started or restarted; a label of the restart counters. */
export type RestartReason =
  | 'start'
  | 'failed'
  | 'ifindex'
  | 'address'
  | 'config'
  | 'binary'
  | 'outage'
  /** flannel's devices or routes are gone. */
  | 'pod-network'
  /** ZeroTier and the kernel disagree for good. */
  | 'repair'
  /** It claims to run, but does not answer on the bus. */
  | 'silent';

export type Action =
  | { readonly do: 'zerotier.join'; readonly network: string }
  /** Leaves and joins: the interface is gone although ZeroTier believes that it has it. */
  | { readonly do: 'zerotier.rejoin'; readonly network: string }
  | { readonly do: 'zerotier.blacklist'; readonly prefixes: readonly string[] }
  /** Asks the network's controller about this node, whose address is `member`. */
  | { readonly do: 'controller.look'; readonly network: string; readonly member: string }
  | {
      readonly do: 'controller.authorize';
      readonly network: string;
      readonly member: string;
      readonly change: MemberChange;
    }
  | { readonly do: 'dns.set'; readonly device: string; readonly ifindex: number; readonly want: LinkDns }
  | { readonly do: 'dns.revert'; readonly device: string; readonly ifindex: number }
  | { readonly do: 'k3s.write-config'; readonly text: string }
  | { readonly do: 'k3s.copy-token' }
  /** Begins to download what is pinned; the world tells how it goes. */
  | {
      readonly do: 'k3s.fetch';
      readonly file: 'binary' | 'images';
      readonly version: string;
      readonly sha256: string;
    }
  | { readonly do: 'unit.start'; readonly unit: string; readonly reason: RestartReason }
  | { readonly do: 'unit.restart'; readonly unit: string; readonly reason: RestartReason }
  | { readonly do: 'unit.reload'; readonly unit: string }
  | { readonly do: 'unit.stop'; readonly unit: string }
  | { readonly do: 'ingress.replace'; readonly text: string; readonly generation: string }
  /** Puts the limits of new connections in force, or takes them out. */
  | { readonly do: 'limits.load'; readonly text: string }
  | { readonly do: 'limits.remove' }
  /** Has the running nginx carry on as the program that is installed. */
  | { readonly do: 'ingress.renew'; readonly program: string }
  /** Keeps the config in place as the one to fall back to. */
  | { readonly do: 'ingress.keep'; readonly generation: string }
  /** Falls back to the kept one, since nginx cannot take over the generation `refused`. */
  | { readonly do: 'ingress.restore'; readonly refused: string };

/** How an action ended. */
export type Outcome =
  | { readonly ok: true }
  | { readonly ok: false; readonly code: string; readonly message: string };

/** What an action acts upon: attempts, failures and backoff are counted under this key. */
export function actionKey(action: Action): string {
  switch (action.do) {
    case 'zerotier.join':
    case 'zerotier.rejoin':
    case 'controller.look':
    case 'controller.authorize':
      return `${action.do}:${action.network}`;
    case 'dns.set':
    case 'dns.revert':
      return `${action.do}:${action.device}:${action.ifindex}`;
    case 'unit.start':
    case 'unit.restart':
    case 'unit.reload':
    case 'unit.stop':
      return `${action.do}:${action.unit}`;
    case 'ingress.replace':
    case 'ingress.keep':
      return `${action.do}:${action.generation}`;
    case 'k3s.fetch':
      return `${action.do}:${action.file}:${action.sha256.slice(0, 16)}`;
    case 'ingress.restore':
    case 'ingress.renew':
    case 'limits.load':
    case 'limits.remove':
      return action.do;
    case 'zerotier.blacklist':
    case 'k3s.write-config':
    case 'k3s.copy-token':
      return action.do;
    default:
      return action satisfies never;
  }
}

/** One line for the log and for `mooring plan`. */
export function describeAction(action: Action): string {
  switch (action.do) {
    case 'zerotier.join':
      return `join ZeroTier network ${action.network}`;
    case 'zerotier.rejoin':
      return `leave and join ZeroTier network ${action.network}, whose interface is gone`;
    case 'zerotier.blacklist':
      return `set ZeroTier's interfacePrefixBlacklist to ${action.prefixes.join(', ')}`;
    case 'controller.look':
      return `ask the controller of network ${action.network} about member ${action.member}`;
    case 'controller.authorize':
      return `${action.change.authorized === true ? 'authorise' : 'set name and addresses of'} member ${action.member} of network ${action.network} at its controller`;
    case 'dns.set': {
      const domains = action.want.domains.map((domain) =>
        domain.routingOnly ? `~${domain.name}` : domain.name,
      );
      return `set DNS of ${action.device} (ifindex ${action.ifindex}) to ${action.want.servers.join(', ')} for ${domains.join(', ') || 'no domain'}`;
    }
    case 'dns.revert':
      return `revert DNS of ${action.device} (ifindex ${action.ifindex})`;
    case 'k3s.write-config':
      return 'write the k3s config';
    case 'k3s.copy-token':
      return 'copy the k3s token to where k3s reads it';
    case 'k3s.fetch': {
      const what = action.file === 'binary' ? 'k3s' : 'the images of k3s';
      return `download ${what} ${action.version}`;
    }
    case 'unit.start':
      return `start ${action.unit} (${action.reason})`;
    case 'unit.restart':
      return `restart ${action.unit} (${action.reason})`;
    case 'unit.reload':
      return `reload ${action.unit}`;
    case 'unit.stop':
      return `stop ${action.unit}`;
    case 'ingress.replace':
      return `test and install ingress config ${action.generation}`;
    case 'limits.load':
      return 'limit new connections to the ingress';
    case 'limits.remove':
      return 'no longer limit new connections to the ingress';
    case 'ingress.keep':
      return `keep ingress config ${action.generation} as the last one that works`;
    case 'ingress.renew':
      return 'renew the running nginx to the program that is installed';
    case 'ingress.restore':
      return `put the last ingress config that works back in place of ${action.refused}`;
    default:
      return action satisfies never;
  }
}
