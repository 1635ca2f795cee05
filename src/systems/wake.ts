/** How an adapter tells the loop that something may have changed. */

/**
 * An edge. It carries a word for the log and nothing that is believed: the loop re-reads everything. Adapters call it
 * as often as they like; calls coalesce.
 */
export type Wake = (reason: string) => void;
