/**
 * The part of a TCP entry that lets mooring ask through the entry's own port whether nginx gets what comes there: a connection
 * from `probeSource` is answered with the generation, as on the generation socket, and never reaches an upstream.
 *
 * Nobody else has that address: it is one of the loopback network, which the kernel accepts from no wire, and programs of this
 * host use it only where they ask for it by name.
 */

/** Where mooring's questions come from. */
export const probeSource = '127.77.68.79';

/** The upstream of the generation socket. No entry can have this name, since it has an underscore. */
const generationUpstream = 'mooring_generation';

/** The upstream that answers; once a config, for entries that use `probed`. */
export const probeUpstream = (generationSocket: string) => `    upstream ${generationUpstream} {
        server unix:${generationSocket};
    }
`;

/** For an entry whose upstream is `name`: what stands before its server, where it passes on to, and whom it lets in first. */
export function probed(name: string): {
  readonly before: string;
  readonly target: string;
  readonly allow: string;
} {
  // Names have no underscore, so no two of them become one.
  const target = `$to_${name.replaceAll('-', '_')}`;
  return {
    before: `    geo ${target} {\n        default ${name};\n        ${probeSource} ${generationUpstream};\n    }\n`,
    target,
    allow: `allow ${probeSource};`,
  };
}
