/**
 * AWS' instance metadata service, version 2 (IMDSv2: a session token first, then questions with it).
 *
 * Always true here: 404 means that a fact does not exist; any other failure fails the whole answer, so a half of one is
 * never taken for all there is. The session token is kept over questions and renewed when it is refused.
 */
import { codeOf, messageOf } from '../error.ts';
import type { AwsTags } from './aws-tags.ts';
import { isInstanceId } from './facts.ts';
import { type Provider, type ProviderOptions, type TagsTold, type Told, wantedTags } from './provider.ts';

/** How to ask AWS. */
export interface AwsOptions extends ProviderOptions {
  /** EC2's API, for tags that the metadata service does not show. */
  readonly ec2Tags: AwsTags;
}

const sessionSeconds = '21600';
/** More than the keys of fifty tags. */
const listBytes = 16_384;

/** A tag's key in a path: as it is where AWS lets the metadata show it, and never as more than one segment. */
const segmentOf = (key: string) => (/^[A-Za-z0-9+=.,_:@-]+$/.test(key) ? key : encodeURIComponent(key));

/** A client that remembers its session token and the address that works. */
export function createAws(options: AwsOptions): Provider {
  const { questions, tagPrefix } = options;
  const { unavailable } = questions;
  let session: { readonly baseUrl: string; readonly token: string } | undefined;
  let preferred: string | undefined;

  async function openSession(): Promise<{ readonly baseUrl: string; readonly token: string }> {
    const order = [preferred, ...options.baseUrls.filter((url) => url !== preferred)];
    let lastError: unknown = unavailable('has no address');
    for (const baseUrl of order) {
      if (baseUrl === undefined) continue;
      try {
        const { status, text } = await questions.ask({
          method: 'PUT',
          url: `${baseUrl}/latest/api/token`,
          headers: { 'X-aws-ec2-metadata-token-ttl-seconds': sessionSeconds },
        });
        if (status === 200 && /^[\x21-\x7e]{1,1024}$/.test(text)) {
          preferred = baseUrl;
          return { baseUrl, token: text };
        }
        lastError =
          status === 403
            ? unavailable('is switched off for this instance (HttpEndpoint)')
            : unavailable(`gives no session token (status ${status})`);
      } catch (error) {
        lastError = error;
      }
    }
    throw lastError;
  }

  /** One fact, undefined where there is none. A refused session token is renewed once. */
  async function fact(path: string): Promise<string | undefined> {
    for (let isRenewed = false; ; isRenewed = true) {
      session ??= await openSession();
      const { status, text } = await questions.ask({
        url: `${session.baseUrl}/latest/meta-data/${path}`,
        headers: { 'X-aws-ec2-metadata-token': session.token },
        maxBytes: listBytes,
      });
      if (status === 200) return text.trim();
      if (status === 404) return undefined;
      if (status !== 401 || isRenewed) throw unavailable(`answers ${path} with status ${status}`);
      session = undefined;
    }
  }

  /** From the metadata service where the instance has "tags in instance metadata", else from EC2's API. */
  async function tags(instanceId: string | undefined, region: string | undefined): Promise<TagsTold> {
    if (tagPrefix === undefined) return { kind: 'not-wanted' };
    const listed = await fact('tags/instance');
    if (listed !== undefined) {
      const keys = listed.split('\n').filter((key) => key.startsWith(tagPrefix));
      const pairs: [string, string][] = [];
      for (const key of keys) {
        pairs.push([key, (await fact(`tags/instance/${segmentOf(key)}`)) ?? '']);
      }
      return wantedTags(tagPrefix, pairs);
    }
    if (instanceId === undefined || region === undefined) {
      return { kind: 'unavailable', error: 'the instance does not tell its id and region' };
    }
    try {
      const isIpv6 = (preferred ?? '').includes('[');
      return wantedTags(
        tagPrefix,
        Object.entries(await options.ec2Tags.read({ instanceId, region, isIpv6 })),
      );
    } catch (error) {
      return { kind: 'unavailable', error: messageOf(error) };
    }
  }

  async function askAll(): Promise<Told> {
    const instanceId = await fact('instance-id');
    if (instanceId !== undefined && isInstanceId(instanceId)) await options.onInstanceId(instanceId);
    const region = await fact('placement/region');
    const zone = await fact('placement/availability-zone');
    return {
      provider: 'aws',
      instanceId,
      instanceType: await fact('instance-type'),
      region,
      zone,
      publicIpv4: await fact('public-ipv4'),
      publicIpv6: await fact('ipv6'),
      // As the AWS cloud controller manager writes it.
      providerId: zone === undefined ? undefined : `aws:///${zone}/${instanceId}`,
      tags: await tags(instanceId, region),
    };
  }

  return {
    async ask() {
      try {
        return await askAll();
      } catch (error) {
        // The next question starts over: the service may have moved to its other address.
        if (codeOf(error) === 'cloud-unavailable') session = undefined;
        throw error;
      }
    },
  };
}
