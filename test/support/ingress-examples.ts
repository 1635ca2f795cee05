/** The config examples of docs/ingress.md, each as the config that a user has who put it beside the rest. */
import { readFileSync } from 'node:fs';
import { parseConfig } from '#src/config/parse.ts';
import { formatProblem } from '#src/config/problem.ts';
import type { Config } from '#src/config/schema.ts';

const page = new URL('../../docs/ingress.md', import.meta.url);
/** What every config must have. */
const rest = `zerotier: {networks: [{id: 8056c2e21c000001}]}
k3s: {server: "https://k3s.home.example:6443", token: {file: /etc/mooring/k3s-token}}
`;

/** Throws Error where one is refused. In the page's order. */
export function ingressExamples(): readonly Config[] {
  const blocks = [...readFileSync(page, 'utf8').matchAll(/^```yaml\n(.*?)^```$/gms)];
  return blocks.map(([, text = '']) => {
    const result = parseConfig([{ path: 'docs/ingress.md', text: rest + text }]);
    if (result.ok) return result.config;
    throw new Error(`${text}${result.problems.map(formatProblem).join('\n')}`);
  });
}
