/**
 * Reshape in terms of axes. Walks the dimensions of both shapes in parallel; each shortest run of equal total size is a
 * merge, a split, or an unchanged axis: [batch, 4, 8] to [batch, 32] merges two axes and leaves the batch alone.
 */
import { type Dim, divideDims, ops, productOfDims } from "../../../compiler/index.ts";
import { freshName, type Tensor, tensor } from "./values.ts";

interface Run {
  /** Indices of input dimensions, and of output dimensions. */
  readonly from: readonly number[];
  readonly to: readonly number[];
}

export function reshaped(x: Tensor, shape: readonly Dim[]): Tensor {
  const taken = new Set(x.axes.filter((a) => a !== undefined));
  const names: (string | undefined)[] = shape.map(() => undefined);
  let node = x.node;
  for (const run of runs(x.shape, shape)) {
    const own = run.from.map((i) => x.axes[i]!);
    const single = run.to.length === 1;
    const whole = own.length === 1 ? own[0]! : wholeOf(own, taken);
    if (own.length > 1) node = ops.merge(node, own, whole);
    for (const name of own) taken.delete(name);
    if (single) {
      names[run.to[0]!] = whole;
      taken.add(whole);
      continue;
    }
    const parts = run.to.map((i, k) => {
      const name = partName(whole, k, [...taken, ...x.axes]);
      taken.add(name);
      names[i] = name;
      return { name, size: shape[i]! };
    });
    node = ops.split(node, whole, parts);
  }
  return tensor(x.type, shape, names, node);
}

/** "token" splits into "token_of_0" and "token_of_1", which merge to "token" again. */
const partName = (whole: string, k: number, taken: readonly (string | undefined)[]): string => {
  const name = `${whole.replace(/_[2-9]$/, "")}_of_${k}`;
  if (!taken.includes(name)) return name;
  for (let i = 2; ; i++) if (!taken.includes(`${name}_${i}`)) return `${name}_${i}`;
};

function wholeOf(parts: readonly string[], taken: ReadonlySet<string>): string {
  const bases = parts.map((p) => /^(.*)_of_\d+(_\d+)?$/.exec(p)?.[1]);
  const [first] = bases;
  const others = [...taken].filter((t) => !parts.includes(t));
  const name = first !== undefined && bases.every((b) => b === first) ? first : parts[0]!;
  return freshName(name, others);
}

function runs(before: readonly Dim[], after: readonly Dim[]): Run[] {
  const [from, to] = [before, after].map((s) => s.flatMap((d, i) => (d === 1 ? [] : [i]))) as [number[], number[]];
  const found: Run[] = [];
  let [i, j] = [0, 0];
  while (i < from.length && j < to.length) {
    const end = runEnd(before, after, from, to, i, j);
    found.push({ from: from.slice(i, end.i), to: to.slice(j, end.j) });
    [i, j] = [end.i, end.j];
  }
  return found;
}

/** The end of the shortest run from here; the end of the shapes if symbolic sizes leave it undetermined. */
function runEnd(
  before: readonly Dim[],
  after: readonly Dim[],
  from: readonly number[],
  to: readonly number[],
  i: number,
  j: number,
) {
  let [a, b] = [i + 1, j + 1];
  const sizeFrom = () => productOfDims(from.slice(i, a).map((k) => before[k]!));
  const sizeTo = () => productOfDims(to.slice(j, b).map((k) => after[k]!));
  for (;;) {
    const [left, right] = [sizeFrom(), sizeTo()];
    if (left === right) return { i: a, j: b };
    if (a < from.length && (divideDims(right, left) !== undefined || smaller(left, right) || b === to.length)) a += 1;
    else if (b < to.length) b += 1;
    else return { i: from.length, j: to.length };
  }
}

const smaller = (a: Dim, b: Dim): boolean => typeof a === "number" && (typeof b !== "number" || a < b);
