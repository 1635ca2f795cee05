/**
 * The parts of dbus-next that mooring uses: its wire format and its authenticated socket. Its MessageBus is left out
 * on purpose: that layer hides the end of the connection, lets calls hang, throws where nobody can catch, and brings
 * an XML parser along.
 */
declare module 'dbus-next/lib/message-type.js' {
  /** METHOD_CALL 1, METHOD_RETURN 2, ERROR 3, SIGNAL 4. */
  export interface MessageFields {
    readonly type?: number;
    readonly serial?: number | null;
    readonly path?: string;
    readonly interface?: string;
    readonly member?: string;
    readonly errorName?: string;
    readonly replySerial?: number;
    readonly destination?: string;
    readonly sender?: string;
    readonly signature?: string;
    readonly body?: readonly unknown[];
    /** NO_REPLY_EXPECTED 1, NO_AUTO_START 2. */
    readonly flags?: number;
  }
  /** Throws on an invalid name or path. */
  class Message {
    constructor(fields: MessageFields);
    readonly type: number;
    readonly serial: number;
    readonly path: string | undefined;
    readonly interface: string | undefined;
    readonly member: string | undefined;
    readonly errorName: string | undefined;
    readonly replySerial: number | undefined;
    readonly destination: string | undefined;
    readonly sender: string | undefined;
    readonly signature: string;
    readonly body: readonly unknown[];
  }

  export type { Message };

  const exported: { readonly Message: typeof Message };
  export default exported;
}

declare module 'dbus-next/lib/connection.js' {
  import type { EventEmitter } from 'node:events';
  import type { Duplex } from 'node:stream';
  import type { Message } from 'dbus-next/lib/message-type.js';

  /** Emits `connect` (authenticated), `message`, `error`, `end`. */
  export interface Transport extends EventEmitter {
    readonly stream: Duplex;
    /** Throws where the body does not fit its signature or the stream is closed. */
    message(message: Message): void;
  }
  export default function createConnection(options: {
    readonly busAddress: string;
    readonly authMethods: readonly string[];
  }): Transport;
}

declare module 'dbus-next/lib/variant.js' {
  /** What `v` is sent as. */
  class Variant {
    constructor(signature: string, value: unknown);
    readonly signature: string;
    readonly value: unknown;
  }
  const exported: { readonly Variant: typeof Variant };
  export default exported;
}
