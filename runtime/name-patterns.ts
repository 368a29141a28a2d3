/** Compact display of many tensor names. */

/**
 * Names as patterns, in their order: `clip_projector2.*` when every name in `all` below that path is included, and
 * `layers.{0,2,4}.norm.weight` for names that differ in one number. `all` is the full set that the names are from.
 */
export function collapseNames(names: readonly string[], all: Iterable<string>): string[] {
  const chosen = new Set(names);
  const others = new Set<string>(); // paths with a name below that is not included
  const leaves = new Map<string, number>();
  for (const name of all) {
    for (const path of parents(name)) {
      leaves.set(path, (leaves.get(path) ?? 0) + 1);
      if (!chosen.has(name)) others.add(path);
    }
  }
  const whole = (name: string) => {
    const path = parents(name).find((p) => !others.has(p) && leaves.get(p)! > 1);
    return path === undefined ? name : `${path}.*`;
  };
  return mergeNumbers([...new Set(names.map(whole))]);
}

/** The ancestor paths of a name, shortest first. */
const parents = (name: string): string[] => {
  const parts = name.split(".");
  return parts.slice(1).map((_, i) => parts.slice(0, i + 1).join("."));
};

/** Merges names that differ only in their first number. */
function mergeNumbers(names: readonly string[]): string[] {
  const groups = new Map<string, string[]>();
  for (const name of names) {
    const number = /(?<=\.)\d+(?=\.)/.exec(name);
    const key = number ? `${name.slice(0, number.index)}{}${name.slice(number.index + number[0].length)}` : name;
    groups.set(key, [...(groups.get(key) ?? []), ...(number ? [number[0]] : [])]);
  }
  return [...groups].map(([key, numbers]) =>
    key.replace("{}", numbers.length > 1 ? `{${shortened(numbers).join(",")}}` : (numbers[0] ?? "")),
  );
}

const shortened = (numbers: readonly string[]): readonly string[] =>
  numbers.length > 4 ? [...numbers.slice(0, 2), "..", numbers.at(-1)!] : numbers;
