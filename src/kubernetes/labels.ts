/**
 * Which labels and taints a kubelet may give its own node. The kubelet ends at its start over a single one that is wrong, and k3s
 * with it, so whatever reaches its config has passed here: what a person wrote, and what a cloud's tags say.
 */

const name =
  /^([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;
const value = /^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$/;
const maxNamespaceLength = 253;

/** Labels that a kubelet may set although their namespace is reserved (Kubernetes, kubelet/pkg/apis/well_known_labels.go). */
const allowed = new Set([
  'topology.kubernetes.io/region',
  'topology.kubernetes.io/zone',
  'failure-domain.beta.kubernetes.io/region',
  'failure-domain.beta.kubernetes.io/zone',
  'kubernetes.io/hostname',
  'kubernetes.io/arch',
  'kubernetes.io/os',
  'beta.kubernetes.io/arch',
  'beta.kubernetes.io/os',
  'beta.kubernetes.io/instance-type',
]);

/** A qualified name: an optional DNS name and a slash, then up to 63 characters. */
function isQualifiedName(key: string): boolean {
  return name.test(key) && key.lastIndexOf('/') <= maxNamespaceLength;
}

/** Whether a kubelet may set a label of this key on itself. */
export function isLabelKey(key: string): boolean {
  if (!isQualifiedName(key)) return false;
  const namespace = key.includes('/') ? (key.split('/')[0] ?? '') : '';
  if (!/(^|\.)(kubernetes\.io|k8s\.io)$/.test(namespace)) return true;
  return /(^|\.)(kubelet|node)\.kubernetes\.io$/.test(namespace) || allowed.has(key);
}

/** Whether `text` may be a label's value. */
export function isLabelValue(text: string): boolean {
  return value.test(text);
}

/** Whether `text` is a taint in kubectl's notation: `key=value:Effect`, or `key:Effect`. */
export function isTaint(text: string): boolean {
  const [, key, , taintValue] =
    /^([^\s=:,]+)(=([^\s=:,]*))?:(NoSchedule|PreferNoSchedule|NoExecute)$/.exec(text) ?? [];
  return key !== undefined && isQualifiedName(key) && isLabelValue(taintValue ?? '');
}
