/**
 * The rules that CNI's portmap plugin makes for a pod with host ports (https://cni.dev/plugins/meta/portmap/), as k3s' service
 * load balancer has them: with iptables, in the nat table, for packets from outside and for those of this host itself.
 */

export interface PortMapping {
  /** iptables-nft, iptables-legacy, or either for IPv6. */
  readonly iptables: string;
  readonly podNetwork: string;
  readonly pod: string;
  readonly hostPort: number;
  readonly podPort: number;
}

const podChain = 'CNI-DN-0a1b2c3d4e5f60718293a';

/** The commands that make them. */
export function portmapRules({
  iptables,
  podNetwork,
  pod,
  hostPort,
  podPort,
}: PortMapping): readonly string[] {
  const isV6 = pod.includes(':');
  const nat = `${iptables} -w -t nat`;
  const port = `-p tcp --dport ${hostPort}`;
  const to = isV6 ? `[${pod}]:${podPort}` : `${pod}:${podPort}`;
  return [
    `${nat} -N CNI-HOSTPORT-SETMARK`,
    `${nat} -A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000`,
    `${nat} -N CNI-HOSTPORT-MASQ`,
    `${nat} -A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE`,
    `${nat} -A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ`,
    `${nat} -N CNI-HOSTPORT-DNAT`,
    `${nat} -A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT`,
    `${nat} -A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT`,
    `${nat} -N ${podChain}`,
    `${nat} -A ${podChain} -s ${podNetwork} ${port} -j CNI-HOSTPORT-SETMARK`,
    ...(isV6 ? [] : [`${nat} -A ${podChain} -s 127.0.0.1/32 ${port} -j CNI-HOSTPORT-SETMARK`]),
    `${nat} -A ${podChain} ${port} -j DNAT --to-destination ${to}`,
    `${nat} -A CNI-HOSTPORT-DNAT -p tcp -m multiport --destination-ports ${hostPort} -j ${podChain}`,
  ];
}

/** The command that takes all of them away, and every other rule of that table. */
export const forgetRules = (iptables: string) => `${iptables} -w -t nat -F && ${iptables} -w -t nat -X`;
