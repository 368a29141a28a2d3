/** The row-reduction problem: rows, each of which is reduced. */
import { coresOf, type Group, indexOver, spanOf, typicalSpan } from "../../../fusion/index.ts";
import type { Dim } from "../../../ir/dim.ts";
import { foldOf } from "../../../ir/op.ts";
import { children, type Expr, int } from "../../../kernel/index.ts";
import { strideOf, substitute } from "../../../kernel/simplify.ts";
import { type AdapterFacts, tooMuchMemory } from "../../facts.ts";
import type { Lowering } from "../../kernel.ts";

export interface RowProblem {
  readonly k: Lowering;
  readonly rows: Dim;
  /** Elements per row. */
  readonly width: Dim;
}

export const rowProblem = (k: Lowering): RowProblem => {
  const { rows, reduced } = k.fused.group!;
  return { k, rows: spanOf(rows.map((c) => c.axis)), width: spanOf(reduced.map((c) => c.axis)) };
};

/** Whether the last of these coordinates is contiguous in one of the largest tensors that the first reduction reads. */
export function isContiguousAlong(k: Lowering, coordinates: Group["rows"]): boolean {
  const group = k.fused.group!;
  const last = coordinates.at(-1);
  const used = coresOf(group, k.fused.stores, k.places);
  const core = group.cores.find((c) => used.has(c));
  if (!last || !core) return false;
  const counter = indexOver(k.names.fresh("k"), last.axis.size);
  const at = new Map([...group.rows, ...group.reduced].map((c) => [c.index.name, c === last ? counter : int(0)]));
  const loads = core.operands.flatMap((o) => {
    const env = o.type.axes.map((a) => [a.name, substitute(group.names.get(a.name)!, at)] as const);
    return loadsOf(k.values.at(o, new Map(env)));
  });
  const elements = (l: Load) => typicalSpan(k.shape.regions[Number(l.buffer.slice(1))]!.axes);
  const largest = Math.max(...loads.map(elements));
  return loads.some((l) => 2 * elements(l) > largest && strideOf(l.index, counter.name) === 1);
}

type Load = Extract<Expr, { kind: "load" }>;

function loadsOf(value: Expr): Load[] {
  const seen = new Set<Expr>();
  const visit = (e: Expr): void => {
    if (seen.has(e)) return;
    seen.add(e);
    children(e).forEach(visit);
  };
  visit(value);
  return [...seen].filter((e) => e.kind === "load");
}

/** How many inputs are as large as all rows together: each of them takes registers if rows are held there. */
export const wholeReads = ({ k, rows, width }: RowProblem): number =>
  [...k.fused.reads].filter((n) => typicalSpan(n.type.axes) * 2 > typicalOf(rows) * typicalOf(width)).length;

const typicalOf = (dim: Dim): number => typicalSpan([{ name: "n", size: dim }]);

/** Vector widths of a 16-byte load. */
export const elementsOfLoad = ({ k }: RowProblem): readonly number[] =>
  [...k.fused.reads].some((n) => n.type.dtype === "f16") ? [8, 4] : [4];

/** Why the partial results of `rows` rows per thread do not fit into workgroup memory; undefined if they do. */
export function whyTooMuchStorage(
  problem: RowProblem,
  threads: number,
  rows: number,
  facts: AdapterFacts,
): string | undefined {
  const { fused, places } = problem.k;
  const cores = [...coresOf(fused.group!, fused.stores, places)];
  const values = cores.reduce((n, core) => n + foldOf(core)!.fold.accumulators.length, 0);
  const bytes = 4 * threads * rows * values;
  if (bytes <= facts.maxWorkgroupStorage) return undefined;
  return `the partial results of ${threads} threads ${tooMuchMemory(bytes, facts)}`;
}
