/**
 * Main file and drop-ins -> one tree. Mappings merge key by key; a scalar or list in a later file replaces the earlier
 * one as a whole. Every value keeps the place it came from.
 */
import type { Entry, Place, Tree } from './tree.ts';

/** `over` laid upon `base`. */
export function mergeTrees(base: Tree, over: Tree): Tree {
  if (base.kind !== 'map' || over.kind !== 'map') return over;
  const entries = new Map<string, Entry>(base.entries);
  for (const [key, entry] of over.entries) {
    const below = base.entries.get(key);
    entries.set(
      key,
      below ? { keyPlace: entry.keyPlace, value: mergeTrees(below.value, entry.value) } : entry,
    );
  }
  return { kind: 'map', entries, place: base.place };
}

/** The values alone. Mappings have no prototype, so that no key of a user's means anything special. */
export function plain(tree: Tree): unknown {
  if (tree.kind === 'scalar') return tree.value;
  if (tree.kind === 'list') return tree.items.map(plain);
  const object: Record<string, unknown> = Object.create(null);
  for (const [key, entry] of tree.entries) object[key] = plain(entry.value);
  return object;
}

/** What stands at a path: the tree if there is one, and the nearest place to point at. */
export interface Found {
  readonly tree: Tree | undefined;
  readonly place: Place;
}

/** Follows a path as far as it goes. For a missing key the place is that of the mapping's own key. */
export function lookUp(root: Tree, path: readonly PropertyKey[]): Found {
  let tree: Tree = root;
  let place = root.place;
  for (const step of path) {
    if (tree.kind === 'map') {
      const entry: Entry | undefined = tree.entries.get(String(step));
      if (!entry) return { tree: undefined, place };
      place =
        entry.value.kind === 'scalar' && entry.value.value !== null ? entry.value.place : entry.keyPlace;
      tree = entry.value;
    } else if (tree.kind === 'list') {
      const item: Tree | undefined = tree.items[Number(step)];
      if (!item) return { tree: undefined, place };
      place = item.place;
      tree = item;
    } else {
      return { tree: undefined, place };
    }
  }
  return { tree, place };
}
