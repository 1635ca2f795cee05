/** How long each kind of action waits after a try that came to nothing. */
import type { Action } from './actions.ts';
import type { BackoffPolicy } from './attempts.ts';

/** Backoff of each kind of action. Units have the restart budget instead, and a short guard against a double job. */
export function backoffPolicy(action: Action): BackoffPolicy {
  switch (action.do) {
    case 'dns.set':
    case 'dns.revert':
      return { firstMs: 200, maxMs: 30_000 };
    case 'zerotier.join':
      return { firstMs: 2_000, maxMs: 60_000 };
    case 'controller.look':
    case 'controller.authorize':
      return { firstMs: 5_000, maxMs: 600_000 };
    case 'zerotier.rejoin':
      return { firstMs: 10_000, maxMs: 300_000 };
    case 'zerotier.blacklist':
      return { firstMs: 30_000, maxMs: 300_000 };
    // Nobody tells when there is room on the disk again.
    case 'k3s.write-config':
    case 'k3s.copy-token':
      return { firstMs: 1_000, maxMs: 15_000 };
    // A file of the wrong hash costs its whole size each time.
    case 'k3s.fetch':
      return { firstMs: 5_000, maxMs: 1_200_000 };
    case 'unit.start':
    case 'unit.restart':
    case 'unit.reload':
    case 'unit.stop':
      return { firstMs: 3_000, maxMs: 60_000 };
    case 'ingress.replace':
      return { firstMs: 30_000, maxMs: 120_000 };
    case 'limits.load':
    case 'limits.remove':
      return { firstMs: 5_000, maxMs: 300_000 };
    case 'ingress.keep':
    case 'ingress.restore':
      return { firstMs: 2_000, maxMs: 60_000 };
    case 'ingress.renew':
      return { firstMs: 60_000, maxMs: 3_600_000 };
    default:
      return action satisfies never;
  }
}
