/** The clouds by name: where each one's metadata service is, and who asks it. */
import type { HttpClient } from '../http.ts';
import { createAws } from './aws.ts';
import { type AwsTagsOptions, createAwsTags } from './aws-tags.ts';
import { createAzure } from './azure.ts';
import { createDigitalOcean } from './digitalocean.ts';
import { createGcp } from './gcp.ts';
import { createHetzner } from './hetzner.ts';
import { createOracle } from './oracle.ts';
import type { Provider, ProviderOptions } from './provider.ts';
import { createQuestions, type QuestionOptions } from './questions.ts';
import type { CloudName } from './types.ts';

/** What any of them may need. */
export interface Ingredients extends Pick<QuestionOptions, 'deadlineMs' | 'pause'> {
  readonly http: HttpClient;
  readonly tagPrefix: string | undefined;
  /** In place of the cloud's own. */
  readonly baseUrls: readonly string[] | undefined;
  readonly onInstanceId: (instanceId: string) => Promise<void>;
  readonly awsTags: Omit<AwsTagsOptions, 'now'>;
}

/** All use this one; only AWS has a second, for hosts without IPv4. */
const linkLocal = 'http://169.254.169.254';
const awsIpv6 = 'http://[fd00:ec2::254]';

const titles: Readonly<Record<CloudName, string>> = {
  aws: 'AWS',
  azure: 'Azure',
  gcp: 'Google Cloud',
  digitalocean: 'DigitalOcean',
  hetzner: 'Hetzner',
  oracle: 'Oracle',
};

/** Whoever asks this cloud. Nothing is asked yet. */
export function createProvider(name: CloudName, ingredients: Ingredients): Provider {
  const { http, deadlineMs, pause, tagPrefix, onInstanceId } = ingredients;
  const options: ProviderOptions = {
    questions: createQuestions({ http, name: titles[name], deadlineMs, pause }),
    baseUrls: ingredients.baseUrls ?? (name === 'aws' ? [linkLocal, awsIpv6] : [linkLocal]),
    tagPrefix,
    onInstanceId,
  };
  switch (name) {
    case 'aws': {
      const ec2Tags = createAwsTags({ ...ingredients.awsTags, now: () => performance.now() });
      return createAws({ ...options, ec2Tags });
    }
    case 'azure':
      return createAzure(options);
    case 'gcp':
      return createGcp(options);
    case 'digitalocean':
      return createDigitalOcean(options);
    case 'hetzner':
      return createHetzner(options);
    case 'oracle':
      return createOracle(options);
    default:
      return name satisfies never;
  }
}
