/** What the cloud knows about this VM. */

/** Facts of one instance. Absent facts are undefined. */
export interface CloudFacts {
  readonly provider: 'aws';
  readonly instanceId: string;
  readonly instanceType: string | undefined;
  readonly region: string | undefined;
  readonly zone: string | undefined;
  readonly publicIpv4: string | undefined;
  readonly publicIpv6: string | undefined;
}

/** One look at the metadata service, or at the last good answer kept on disk. */
export type CloudReading =
  /** No known cloud (by DMI), or switched off in the config. */
  | { readonly kind: 'none' }
  /** Known cloud, no answer yet. */
  | { readonly kind: 'unavailable'; readonly provider: string; readonly error: string }
  /** `stale` carries why the facts come from disk or an older answer. */
  | { readonly kind: 'known'; readonly facts: CloudFacts; readonly stale: string | undefined };

/** Asks at its own pace; `read` never waits for the network. */
export interface Cloud {
  read(): CloudReading;
}
