/** What k3s' agent leaves on the node for the Kubernetes API: kubeconfigs, a CA, client certificates with their keys. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Identity } from './certificates.ts';

/** A kubeconfig in the words of k3s (pkg/daemons/control/deps). */
export function kubeconfigText(server: string, files: { ca: string; cert: string; key: string }): string {
  return `apiVersion: v1
clusters:
- cluster:
    server: ${server}
    certificate-authority: ${files.ca}
  name: local
contexts:
- context:
    cluster: local
    namespace: default
    user: user
  name: Default
current-context: Default
kind: Config
preferences: {}
users:
- name: user
  user:
    client-certificate: ${files.cert}
    client-key: ${files.key}
`;
}

/** Writes `<name>.kubeconfig` below `folder`, with all that it names, and returns its path. */
export function writeKubeconfig(
  folder: string,
  name: string,
  { server, ca, client }: { server: string; ca: string; client: Identity },
): string {
  mkdirSync(folder, { recursive: true });
  const write = (file: string, text: string) => {
    writeFileSync(join(folder, file), text, { mode: 0o600 });
    return join(folder, file);
  };
  const files = {
    ca: write('server-ca.crt', ca),
    cert: write(`client-${name}.crt`, client.cert),
    key: write(`client-${name}.key`, client.key),
  };
  return write(`${name}.kubeconfig`, kubeconfigText(server, files));
}
