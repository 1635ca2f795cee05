/** The stand-ins of the metadata services, by the names that mooring's config uses. */
import { createAws } from './aws.ts';
import { createAzure } from './azure.ts';
import { createDigitalOcean } from './digitalocean.ts';
import { createGcp } from './gcp.ts';
import { createHetzner } from './hetzner.ts';
import { createOracle } from './oracle.ts';
import type { Changes, MetadataService } from './service.ts';

const makers = {
  aws: createAws,
  azure: createAzure,
  gcp: createGcp,
  digitalocean: createDigitalOcean,
  hetzner: createHetzner,
  oracle: createOracle,
} as const;

export type MetadataCloud = keyof typeof makers;
export const metadataClouds = Object.keys(makers).filter((name): name is MetadataCloud => name in makers);

/** The service of a cloud, for its default instance with these changes. */
export function createMetadataService(cloud: MetadataCloud, changes: Changes = {}): MetadataService {
  return makers[cloud](changes);
}
