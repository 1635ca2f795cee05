/** The nginx.conf that is wanted now. An address that went is no reason for another one, as long as nothing else changes. */
import { keptAddresses } from '../render/nginx-addresses.ts';
import { type NginxConf, nginxHost, renderNginxConf } from '../render/nginx-conf.ts';
import type { ServedEntry } from '../upstreams.ts';
import { ingressUnit } from '../world.ts';
import type { StageInput } from './stage.ts';

/** Of entries whose upstreams are listed. */
export function wantedConf(
  { config, world, memory }: Pick<StageInput, 'config' | 'world' | 'memory'>,
  entries: readonly ServedEntry[],
): NginxConf {
  const host = nginxHost(config, world, memory);
  const fresh = renderNginxConf(entries, host);
  const inPlace = world.ingress.config;
  if (inPlace.kind !== 'present' || inPlace.text === fresh.text) return fresh;
  const inUse = keptAddresses(inPlace.text);
  // An nginx that has to start could not open a socket at an address that is not there.
  const unit = world.units.kind === 'answered' ? world.units.units[ingressUnit] : undefined;
  const isRunning = unit?.activeState === 'active' || unit?.activeState === 'reloading';
  const kept = { ...inUse, entries: isRunning ? inUse.entries : {} };
  const staying = renderNginxConf(entries, { ...host, kept });
  return staying.text === inPlace.text ? staying : fresh;
}

/** `http on 80/tcp, quic on 443/udp; https waits for 203.0.113.9`. */
export function servedInWords(entries: readonly ServedEntry[], { open, waiting }: NginxConf): string {
  const served = entries
    .filter(({ name }) => open.includes(name))
    .map(({ name, listen, protocol }) => `${name} on ${listen}/${protocol}`);
  return [served.length === 0 ? 'nothing' : served.join(', '), ...waiting].join('; ');
}
