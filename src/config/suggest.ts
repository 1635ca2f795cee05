/** "Did you mean …": the nearest of the allowed words. */

/** Edits to turn `a` into `b`: insertions, deletions, substitutions and swaps of neighbours (optimal string alignment). */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        best = Math.min(best, (beforeLast[j - 2] ?? 0) + 1);
      row.push(best);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length] ?? 0;
}

/** The allowed word that was probably meant, or undefined where none is near. Case, dashes and underscores count little. */
export function suggest(word: string, allowed: readonly string[]): string | undefined {
  if (word.length > 64) return undefined;
  const bare = (text: string) => text.toLowerCase().replace(/[-_\s]/g, '');
  const ranked = allowed
    .map((candidate) => ({ candidate, distance: editDistance(bare(word), bare(candidate)) }))
    .sort((x, y) => x.distance - y.distance);
  const best = ranked[0];
  if (!best) return undefined;
  const tolerance = Math.max(1, Math.floor(Math.min(word.length, best.candidate.length) / 3));
  if (best.distance <= tolerance) return best.candidate;
  const prefixed = allowed.filter((c) => word.length >= 3 && bare(c).startsWith(bare(word)));
  return prefixed.length === 1 ? prefixed[0] : undefined;
}
