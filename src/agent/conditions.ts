/**
 * The node's health as a list of conditions. Each type is registered once, here, with its severity and what it
 * depends on; a condition whose cause is another one names it instead of being a second failure.
 */

export type ConditionStatus = 'true' | 'false' | 'unknown';

/** What a stage says about one type. */
export interface Finding {
  readonly status: ConditionStatus;
  /** CamelCase, stable. */
  readonly reason: string;
  /** What is so, what is wrong, and what to do. */
  readonly message: string;
}

/** A published condition. */
export interface Condition extends Finding {
  readonly type: ConditionType;
  readonly severity: Severity;
  /** Unix ms since the status is what it is. */
  readonly sinceMs: number;
  /** The type that this one's trouble comes from. */
  readonly cause?: ConditionType;
}

/** `critical` keeps the node from being Ready; `warning` and `info` do not. */
export type Severity = 'critical' | 'warning' | 'info';

interface Registration {
  readonly severity: Severity;
  readonly dependsOn: readonly string[];
}

const table = {
  ConfigAccepted: { severity: 'warning', dependsOn: [] },
  SecretsProtected: { severity: 'warning', dependsOn: [] },
  ZeroTierOnline: { severity: 'critical', dependsOn: [] },
  BlacklistInForce: { severity: 'warning', dependsOn: ['ZeroTierOnline'] },
  NetworkAuthorized: { severity: 'critical', dependsOn: ['ZeroTierOnline'] },
  LinkReady: { severity: 'critical', dependsOn: ['NetworkAuthorized', 'ZeroTierOnline'] },
  DnsConfigured: { severity: 'critical', dependsOn: ['LinkReady'] },
  CloudFactsKnown: { severity: 'info', dependsOn: [] },
  K3sInstalled: { severity: 'critical', dependsOn: [] },
  K3sUpToDate: { severity: 'warning', dependsOn: ['K3sInstalled'] },
  K3sRunning: { severity: 'critical', dependsOn: ['K3sInstalled', 'LinkReady'] },
  ServerReachable: { severity: 'warning', dependsOn: ['LinkReady'] },
  PodNetworkReady: { severity: 'critical', dependsOn: ['K3sRunning', 'LinkReady'] },
  UpstreamsFound: { severity: 'warning', dependsOn: ['K3sRunning', 'ServerReachable'] },
  IngressRunning: { severity: 'critical', dependsOn: [] },
  IngressLimited: { severity: 'warning', dependsOn: [] },
  Ready: { severity: 'critical', dependsOn: [] },
} as const satisfies Readonly<Record<string, Registration>>;

export type ConditionType = keyof typeof table;

/** All types in the order in which they are shown. */
export const conditionTypes = Object.keys(table).filter((type): type is ConditionType => type in table);

/** Findings of the stages; `Ready` is summed up here, not found. */
export type Findings = Readonly<Record<Exclude<ConditionType, 'Ready'>, Finding>>;

/** The first false condition, following `dependsOn`, that explains why `type` is not true. */
function causeOf(type: ConditionType, findings: Findings): ConditionType | undefined {
  for (const dependency of table[type].dependsOn) {
    if (findings[dependency].status === 'false') return causeOf(dependency, findings) ?? dependency;
  }
  return undefined;
}

/** Sums up: every critical condition must be true. */
function ready(findings: Findings): Finding {
  const open = conditionTypes.filter(
    (type): type is Exclude<ConditionType, 'Ready'> =>
      type !== 'Ready' && table[type].severity === 'critical' && findings[type].status !== 'true',
  );
  const [first] = open;
  if (first === undefined) return { status: 'true', reason: 'Moored', message: 'the node is moored' };
  const root = open.find((type) => causeOf(type, findings) === undefined) ?? first;
  return { status: 'false', reason: root, message: findings[root].message };
}

/** Findings become conditions; `since` is kept from `previous` where the status did not change. */
export function conditionsOf(
  findings: Findings,
  previous: readonly Condition[],
  wallMs: number,
): readonly Condition[] {
  return conditionTypes.map((type) => {
    const finding = type === 'Ready' ? ready(findings) : findings[type];
    const before = previous.find((condition) => condition.type === type);
    const isConsequence = finding.status !== 'true' && type !== 'Ready';
    const cause = isConsequence ? causeOf(type, findings) : undefined;
    return {
      type,
      severity: table[type].severity,
      ...finding,
      sinceMs: before?.status === finding.status ? before.sinceMs : wallMs,
      ...(cause === undefined ? {} : { cause }),
    };
  });
}
