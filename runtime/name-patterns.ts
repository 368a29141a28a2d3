/** Many tensor names said in few words. */

/**
 * Names as patterns, in the order of the names: `clip_projector2.*` where all that is in `all` below a path is among them,
 * and `layers.{0,2,4}.norm.weight` for names that differ in one number. `all` are the names among which these are.
 */
export function collapseNames(names: readonly string[], all: Iterable<string>): string[] {
  const chosen = new Set(names);
  const others = new Set<string>(); // paths below which there is a name that is not among them
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

/** The paths above a name, the shortest first. */
const parents = (name: string): string[] => {
  const parts = name.split(".");
  return parts.slice(1).map((_, i) => parts.slice(0, i + 1).join("."));
};

/** Names that differ in their first number alone become one. */
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
