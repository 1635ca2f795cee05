/** What lies beyond the link: the k3s server and the DNS of home, asked so that it is known which side is cut. */

/** How far a question to the server came before it failed. */
export type ProbeStage = 'dns' | 'connect' | 'tls' | 'http';

/** The newest that is known of the k3s server. Times are monotonic ms. */
export type ServerReading =
  /** Not asked yet through the link of now, or not asked at all while there is no link. */
  | { readonly kind: 'unprobed' }
  | {
      readonly kind: 'reachable';
      /**
       * `verified`: its certificate leads to the CA that the token names (or to one that this host trusts, which k3s takes as
       * well). `no-hash`: the token names no CA, so nothing was checked. `no-token`: the token cannot be read.
       */
      readonly trust: 'verified' | 'no-hash' | 'no-token';
      /** From connecting to the answer's last byte. */
      readonly latencyMs: number;
      readonly atMs: number;
    }
  | {
      readonly kind: 'unreachable';
      readonly stage: ProbeStage;
      readonly error: string;
      /** Something came back from the server's address, so the way there is open. */
      readonly heard: boolean;
      readonly sinceMs: number;
    }
  /** It answers, and is not whom the token names (`ca`), or its certificate is not valid (`certificate`). */
  | {
      readonly kind: 'untrusted';
      readonly reason: 'ca' | 'certificate';
      readonly error: string;
      readonly sinceMs: number;
    };

/** Whether a DNS server of the link answers; what it answers does not matter. */
export type HomeDnsReading =
  /** Not asked yet, or the link has none. */
  | { readonly kind: 'unasked' }
  | { readonly kind: 'answers' }
  /** Nothing listens there, and that was told: the way is open. */
  | { readonly kind: 'refuses' }
  | { readonly kind: 'silent'; readonly sinceMs: number };

/** Both, as of the newest round. */
export interface HomeReading {
  readonly server: ServerReading;
  readonly dns: HomeDnsReading;
}

/** What the brain wants to know, after each pass. */
export interface ProbeAim {
  /** `off` asks nothing: without its link, questions would go elsewhere. */
  readonly pace: 'off' | 'calm' | 'eager';
  /** Names the link; under another name everything is asked anew. */
  readonly path: string;
  /** The first question on a link is put off by a random part of this. */
  readonly firstWithinMs: number;
  /** IP addresses of the link's DNS servers. */
  readonly dnsServers: readonly string[];
}

/** Asks at its own pace; `read` never waits. */
export interface HomeProbe {
  read(): HomeReading;
  aim(aim: ProbeAim): void;
}
