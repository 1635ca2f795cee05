/** The npm package systemd-notify, which carries no types. It always adds `--pid` to a ready or status message. */
declare module 'systemd-notify' {
  export default function notify(options: {
    ready?: boolean;
    status?: string;
    pid?: number;
    booted?: boolean;
  }): Promise<unknown>;
}
