/** The configs of the simulated node, each parsed once. */
import type { Config } from '../../src/config/schema.ts';
import { aConfig, networkId } from '../support/world.ts';
import type { Sabotage } from './sabotage.ts';

const http = { name: 'http', listen: 80, upstreams: ['127.0.0.1:31693'] };
const https = { name: 'https', listen: 443, upstreams: ['127.0.0.1:30484'] };
const parsed = new Map<string, Config>();

/** The config with or without the second door, as a person may change it. */
export function settingsOf(hasHttps: boolean, { restart = {}, repair = {} }: Partial<Sabotage> = {}): Config {
  const key = JSON.stringify([hasHttps, restart, repair]);
  const known = parsed.get(key);
  if (known !== undefined) return known;
  const server = 'https://k3s.home.example:6443';
  const config = aConfig({
    ingress: hasHttps ? [http, https] : [http],
    k3s: { server, token: { file: '/etc/mooring/k3s-token' }, restart },
    zerotier: {
      networks: [{ id: networkId }],
      authorize: { controller: 'https://zt.home.example', token: { credential: 'zerotier-api-token' } },
      repair,
    },
  });
  parsed.set(key, config);
  return config;
}
