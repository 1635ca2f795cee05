/** What the cloud knows about this VM. */

/** The clouds that mooring can ask, by the names that the config uses. */
export type CloudName = 'aws' | 'azure' | 'gcp' | 'digitalocean' | 'hetzner' | 'oracle';

/** Facts of one instance. Absent facts are undefined. */
export interface CloudFacts {
  readonly provider: CloudName;
  readonly instanceId: string;
  readonly instanceType: string | undefined;
  readonly region: string | undefined;
  readonly zone: string | undefined;
  readonly publicIpv4: string | undefined;
  readonly publicIpv6: string | undefined;
  /** The instance as this cloud's own Kubernetes controllers name it (`spec.providerID` of a Node). */
  readonly providerId: string | undefined;
  /** The tags with the wanted prefix, by their whole key; undefined where none are wanted or they are not known. */
  readonly tags: Readonly<Record<string, string>> | undefined;
}

/** One look at the metadata service, or at the last good answer kept on disk. */
export type CloudReading =
  /** No known cloud (by DMI), or switched off in the config. */
  | { readonly kind: 'none' }
  /** Known cloud, no answer yet. */
  | { readonly kind: 'unavailable'; readonly provider: string; readonly error: string }
  | {
      readonly kind: 'known';
      readonly facts: CloudFacts;
      /** Why the facts come from disk or an older answer. */
      readonly stale: string | undefined;
      /** Why tags that are wanted are missing, or are older than the rest. */
      readonly tagsError?: string | undefined;
    };

/** Asks at its own pace; `read` never waits for the network. */
export interface Cloud {
  read(): CloudReading;
}
