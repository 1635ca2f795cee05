/** The arrows between the rooms: cli -> agent, health, systems, config; agent takes only types from systems. */
module.exports = {
  forbidden: [
    { name: 'no-circular', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'agent-is-pure',
      comment: 'The brain decides and does no I/O: of the systems it may see types alone.',
      severity: 'error',
      from: { path: '^src/agent' },
      to: { path: '^src/systems', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'agent-imports-no-io',
      comment: 'node:net is let through for isIP and BlockList, which only compute.',
      severity: 'error',
      from: { path: '^src/agent' },
      to: { dependencyTypes: ['core'], pathNot: '^(node:)?(net|crypto)$' },
    },
    {
      name: 'agent-imports-no-package',
      severity: 'error',
      from: { path: '^src/agent' },
      to: { path: 'node_modules', pathNot: 'node_modules/yaml' },
    },
    {
      name: 'agent-knows-no-shell',
      severity: 'error',
      from: { path: '^src/agent' },
      to: { path: '^src/(cli|health)' },
    },
    {
      name: 'agent-takes-config-types',
      severity: 'error',
      from: { path: '^src/agent' },
      to: { path: '^src/config', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'health-takes-agent-types',
      severity: 'error',
      from: { path: '^src/health' },
      to: { path: '^src/(agent|config)', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'health-knows-no-systems',
      severity: 'error',
      from: { path: '^src/health' },
      to: { path: '^src/(systems|cli)' },
    },
    {
      name: 'systems-stand-alone',
      severity: 'error',
      from: { path: '^src/systems' },
      to: { path: '^src/(agent|health|cli|config)' },
    },
    {
      name: 'config-stands-alone',
      severity: 'error',
      from: { path: '^src/config' },
      to: { path: '^src/(agent|health|cli|systems)' },
    },
    {
      name: 'systems-know-no-neighbour',
      comment: 'One folder a system; only D-Bus, files, downloads and units are shared by the others.',
      severity: 'error',
      from: { path: '^src/systems/([^/]+)/' },
      to: {
        path: '^src/systems/([^/]+)/',
        pathNot: ['^src/systems/$1/', '^src/systems/(dbus|download|files|systemd)/'],
      },
    },
    {
      name: 'nothing-shipped-imports-tests',
      severity: 'error',
      from: { path: '^src' },
      to: { path: '^(test|packaging)' },
    },
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
  },
};
