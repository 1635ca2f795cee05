/** Where everything lives on the node. The names are contracts with users and with the package. */

export const paths = {
  configFile: '/etc/mooring/config.yaml',
  stateDirectory: '/var/lib/mooring',
  lastGood: '/var/lib/mooring/last-good.json',
  cloudCache: '/var/lib/mooring/cloud.json',
  /** The NodePorts that were found in the cluster. */
  services: '/var/lib/mooring/services.json',
  /** The bundle that asks EC2 for tags. */
  awsTags: '/usr/lib/mooring/aws-tags.cjs',
  /** The instance that the node's identity belongs to. */
  instance: '/var/lib/mooring/instance.json',
  /** The node's own de-authorisations, by network (`mooring leave`). */
  left: '/var/lib/mooring/left.json',
  /** There since mooring-zerotier-preseed.service has done its work in this boot. */
  preseeded: '/run/mooring/preseeded',
  memory: '/run/mooring/memory.json',
  socket: '/run/mooring/mooring.sock',
  k3sConfig: '/etc/rancher/k3s/config.yaml.d/50-mooring.yaml',
  k3sToken: '/run/mooring/k3s-token',
  /** What mooring-zerotier-token.service compares the token's file with. */
  zerotierTokenMark: '/run/mooring/zerotier-token.sha256',
  /** The rules that limit new connections: the wanted ones, and the last that nft took. */
  ingressLimits: ['/var/lib/mooring/nginx/limits.nft', '/var/lib/mooring/nginx/limits-last.nft'],
  zerotierHome: '/var/lib/zerotier-one',
} as const;

/** The credential under which mooring.service hands over ZeroTier's API token. */
export const zerotierTokenCredential = 'zerotier-authtoken';
