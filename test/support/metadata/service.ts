/**
 * Stand-ins of the clouds' metadata services, as each one's documentation says that it answers: which headers it demands, what it
 * says to those who leave them out, what a missing fact looks like. Tests of the adapter and the bed use the same ones.
 *
 * A service is a function of a request; it neither listens nor waits by itself.
 */

/** A request as a service sees it. */
export interface MetadataRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}

/** Its answer; a promise where the service was asked to wait. */
export interface MetadataAnswer {
  readonly status: number;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** One cloud's service for one instance. */
export interface MetadataService {
  answer(request: MetadataRequest): MetadataAnswer | Promise<MetadataAnswer>;
  /** Replaces facts by name, null takes one away; whoever waits for a change is answered. */
  change(changes: Changes): void;
}

/** What an instance is to be like, in words that mean the same at all clouds. */
export interface Instance {
  /** The cloud's default instance has one of each that it can have. */
  readonly publicIpv4?: string | undefined;
  readonly publicIpv6?: string | undefined;
  readonly tags?: Readonly<Record<string, string>> | undefined;
  /** AWS: a session token is good for so many more questions only. */
  readonly sessionQuestions?: number | undefined;
  /** AWS: the instance has a role, with these credentials. */
  readonly role?:
    | { readonly accessKeyId: string; readonly secretKey: string; readonly token: string }
    | undefined;
  /** AWS: tags are shown in the metadata. */
  readonly showsTags?: boolean | undefined;
  /** Azure: the newest API version that the service knows. */
  readonly newestVersion?: string | undefined;
  /** Azure: the public address is the load balancer's. */
  readonly isBehindLoadBalancer?: boolean | undefined;
}

/** Another value, or null for none. */
export type Changes = { readonly [Name in keyof Instance]?: Instance[Name] | null };

/** The instance after the changes. */
export function changed(instance: Instance, changes: Changes): Instance {
  return Object.fromEntries(
    Object.entries({ ...instance, ...changes }).filter(([, value]) => value !== null && value !== undefined),
  );
}

export const notFound: MetadataAnswer = { status: 404, body: '<html>404 - Not Found</html>' };

/** JSON, as most of them answer. */
export function json(value: unknown, headers: Readonly<Record<string, string>> = {}): MetadataAnswer {
  return {
    status: 200,
    body: JSON.stringify(value),
    headers: { 'content-type': 'application/json', ...headers },
  };
}
