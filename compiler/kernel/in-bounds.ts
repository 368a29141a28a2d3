/**
 * Proves accesses of a kernel in bounds, for every thread and every size that it may run with. The proof trusts no
 * stated ranges of names: it uses only what follows from the dispatch, loops, the values of lets, and dominating
 * conditions.
 */
import { addDims, type Dim, mulDims, subDims, symbol, termsOf } from "../ir/dim.ts";
import { type DType, dtypeBytes } from "../ir/dtype.ts";
import { type ArithOp, type Expr, type Size, widthOf } from "./expr.ts";
import { children, keyOf } from "./expr-structure.ts";
import { expressions, fragmentsOf, type Kernel, type MatrixPlace, type Stmt, threadsOf } from "./kernel.ts";
import {
  atMost,
  type Bounds,
  between,
  both,
  difference,
  distinct,
  exactly,
  highest,
  joined,
  lastIteration,
  leastI32,
  mostI32,
  pairs,
  product,
  quotient,
  ringOps,
  unknown,
  withExact,
} from "./symbolic-bounds.ts";

const elementBytes = (dtype: DType): number => (dtype === "bool" ? 4 : dtypeBytes[dtype]);

/** Bytes of the largest possible WGSL array. */
const largestArray = 2 ** 32 - 1;

/** Bounds of the sizes of a kernel: a run binds whole buffers, so the largest possible array limits the sizes. */
class KnownSizes {
  /** Buffer lengths as polynomials; none exceeds the largest i32. */
  readonly lengths: readonly Dim[];
  private readonly most = new Map<string, number>();

  constructor({ buffers }: Kernel) {
    for (const { size, dtype } of buffers) {
      const terms = termsOf(this.polynomial(size) ?? 0);
      if (terms.some((t) => t.coefficient < 0)) continue;
      for (const { coefficient, symbols } of terms) {
        const least = symbols.reduce((n, s) => n * s.min, coefficient);
        const elements = Math.floor(largestArray / elementBytes(dtype));
        for (const { name, min } of symbols)
          this.most.set(name, Math.min(this.most.get(name) ?? mostI32, Math.floor((elements * min) / least)));
      }
    }
    this.lengths = buffers.flatMap(({ size }) => this.polynomial(size) ?? []);
  }

  of({ name, range }: Size): Dim {
    const most = Math.min(range.max, this.most.get(name) ?? mostI32);
    return most >= range.min ? symbol(name, { min: range.min, max: most }) : range.min;
  }

  /** The size of a buffer as a polynomial, if it is one. The host evaluates it in float64, without i32 wraparound. */
  polynomial(size: Expr): Dim | undefined {
    if (size.kind === "const") return size.value;
    if (size.kind === "size") return this.of(size);
    if (size.kind !== "arith") return undefined;
    const combine = ringOps[size.op];
    const [a, b] = [this.polynomial(size.a), this.polynomial(size.b)];
    return combine && a !== undefined && b !== undefined ? combine(a, b) : undefined;
  }
}

/** The facts that are known at a point of a kernel. */
class Scope {
  private readonly parent: Scope | undefined;
  private readonly sizes: KnownSizes;
  private readonly values = new Map<string, Bounds>();
  /** The values of lets: more may be known about a value at its use than at its definition. */
  private readonly lets = new Map<string, Expr>();
  /** Bounds that conditions imply, by expression key. */
  private readonly facts = new Map<string, Bounds>();
  private readonly known = new Map<Expr, Bounds>();
  /** Numbers of size expressions that are not polynomials, by expression key. */
  private readonly quotients: Map<string, number>;

  constructor(sizes: KnownSizes, parent?: Scope) {
    this.sizes = sizes;
    this.quotients = parent?.quotients ?? new Map();
    this.parent = parent;
  }

  /** A nested scope in which a condition holds. */
  within(condition?: Expr): Scope {
    const inner = new Scope(this.sizes, this);
    if (condition) inner.assume(condition);
    return inner;
  }

  bind(name: string, bounds: Bounds): void {
    this.values.set(name, bounds);
  }

  bindLet(name: string, value: Expr): void {
    this.lets.set(name, value);
  }

  private find<T>(get: (scope: Scope) => T | undefined): T | undefined {
    return get(this) ?? this.parent?.find(get);
  }

  private assume(condition: Expr): void {
    if (condition.kind === "var") {
      const stands = this.find((s) => s.lets.get(condition.name));
      if (stands) this.assume(stands);
    } else if (condition.kind === "logic" && condition.op === "and") {
      this.assume(condition.a);
      this.assume(condition.b);
    } else if (condition.kind === "compare" && condition.a.dtype === "i32" && condition.op !== "ne") {
      const [a, b] = [this.of(condition.a), this.of(condition.b)];
      const less = condition.op === "lt" ? 1 : 0;
      this.learn(condition.a, { min: unknown.min, max: b.max.map((d) => subDims(d, less)) });
      this.learn(condition.b, { min: a.min + less, max: [] });
      if (condition.op !== "eq") return;
      this.learn(condition.a, { min: b.min, max: [] });
      this.learn(condition.b, { min: unknown.min, max: a.max });
    }
  }

  /** Records bounds of an expression; derives bounds of a name's value, and of the operand e of e ± c and e / c. */
  private learn(e: Expr, bounds: Bounds): void {
    if (e.kind === "const" || e.kind === "size" || !this.stays(e)) return;
    const key = keyOf(e);
    const before = this.facts.get(key);
    this.facts.set(key, before ? both(before, bounds) : bounds);
    this.known.clear();
    const value = e.kind === "var" && this.find((s) => s.lets.get(e.name));
    if (value) this.learn(value, bounds);
    if (e.kind !== "arith" || e.dtype !== "i32" || e.b.kind !== "const" || !this.counts(this.of(e.a))) return;
    const each = e.b.value;
    if (e.op === "div" && each > 0 && this.of(e.a).min >= 0)
      this.learn(e.a, { min: unknown.min, max: bounds.max.map((d) => addDims(mulDims(d, each), each - 1)) });
    if (e.op !== "add" && e.op !== "sub") return;
    const by = e.op === "add" ? e.b.value : -e.b.value;
    this.learn(e.a, { min: bounds.min - by, max: bounds.max.map((d) => subDims(d, by)) });
  }

  /** Whether an expression has the same value wherever it is evaluated: it reads no mutable variable and no memory. */
  private stays(e: Expr): boolean {
    if (e.kind === "load" || e.kind === "element" || e.kind === "subgroup") return false;
    if (e.kind === "var") return this.find((s) => s.lets.get(e.name) ?? s.values.get(e.name)) !== undefined;
    return children(e).every((c) => this.stays(c));
  }

  of(e: Expr): Bounds {
    let bounds = this.known.get(e);
    if (!bounds) {
      bounds = this.compute(e);
      const fact = e.kind === "const" || e.kind === "size" ? undefined : this.factsOf(keyOf(e));
      if (fact) bounds = both(bounds, fact);
      this.known.set(e, bounds);
    }
    return bounds;
  }

  private factsOf(key: string): Bounds | undefined {
    const own = this.facts.get(key);
    const outer = this.parent?.factsOf(key);
    return own && outer ? both(outer, own) : (own ?? outer);
  }

  /** Whether a value provably did not wrap around: it is at most the largest i32, or the size of a buffer. */
  private counts(b: Bounds): boolean {
    if (b.min < leastI32) return false;
    return highest(b) <= mostI32 || b.max.some((d) => this.sizes.lengths.some((s) => atMost(d, s)));
  }

  private compute(e: Expr): Bounds {
    if (e.dtype !== "i32" || widthOf(e)) return unknown;
    switch (e.kind) {
      case "const":
        return exactly(e.value);
      case "size":
        return exactly(this.sizes.of(e));
      case "var": {
        const value = this.find((s) => s.lets.get(e.name));
        return value ? this.of(value) : (this.find((s) => s.values.get(e.name)) ?? unknown);
      }
      case "select": {
        const yes = this.within(e.condition).of(e.yes);
        const no = this.of(e.no);
        return { min: Math.min(yes.min, no.min), max: joined(yes, no) };
      }
      case "cast":
        return e.a.dtype === "bool" ? between(0, 1) : unknown;
      case "arith": {
        const [a, b] = [this.of(e.a), this.of(e.b)];
        const bounds = this.arith(e.op, a, b);
        if (!this.counts(bounds)) return unknown;
        return a.exact === undefined || b.exact === undefined || bounds.exact !== undefined
          ? bounds
          : this.named(e, bounds);
      }
      default:
        return unknown;
    }
  }

  /** Gives a non-polynomial function of sizes, such as a rounded-up quotient, a size symbol of its own. */
  private named(e: Expr, bounds: Bounds): Bounds {
    const most = Math.min(highest(bounds), mostI32); // it did not wrap around, although its bound may exceed an i32
    if (bounds.min === most) return exactly(most);
    if (bounds.min < 1 || most < bounds.min) return bounds; // the latter in dead code, under contradictory conditions
    const name = `q${this.quotients.get(keyOf(e)) ?? this.quotients.size}`;
    if (!this.quotients.has(keyOf(e))) this.quotients.set(keyOf(e), this.quotients.size);
    const size = symbol(name, { min: bounds.min, max: most });
    return { min: bounds.min, max: distinct([size, ...bounds.max]), exact: size };
  }

  private arith(op: ArithOp, a: Bounds, b: Bounds): Bounds {
    switch (op) {
      case "add":
        return withExact({ min: a.min + b.min, max: pairs(a, b, addDims) }, a, b, addDims);
      case "sub":
        return withExact(difference(a, b), a, b, subDims);
      case "mul":
        return withExact(product(a, b), a, b, mulDims);
      case "min":
        return { min: Math.min(a.min, b.min), max: distinct([...b.max, ...a.max]) };
      case "max":
        return { min: Math.max(a.min, b.min), max: joined(a, b) };
      case "div":
        return a.min >= 0 && b.min >= 1 && this.counts(a) ? quotient(a, b) : unknown;
      case "mod":
        if (!(b.min >= 1) || !this.counts(a)) return unknown;
        if (a.min >= 0) return { min: 0, max: distinct([...b.max.map((d) => subDims(d, 1)), ...a.max]) };
        return { min: 1 - highest(b), max: b.max.map((d) => subDims(d, 1)) };
    }
  }
}

/** An access that the proof may find unproven. */
export type Access =
  | Extract<Expr, { kind: "load" | "element" }>
  | Extract<Stmt, { kind: "store" | "set" }>
  | MatrixPlace;

/** The accesses of a kernel that are not provably in bounds. */
export function unprovenAccesses(kernel: Kernel): ReadonlySet<Access> {
  const sizes = new KnownSizes(kernel);
  const proof = new Proof(kernel, sizes);
  proof.block(kernel.body, dispatchScope(kernel, sizes));
  return proof.unproven;
}

function dispatchScope(kernel: Kernel, sizes: KnownSizes): Scope {
  const scope = new Scope(sizes);
  for (const [i, name] of (["wid_x", "wid_y", "wid_z"] as const).entries()) {
    const groups = kernel.grid[i]!;
    scope.bind(name, { min: 0, max: scope.of(groups).max.map((d) => subDims(d, 1)) });
  }
  const threads = threadsOf(kernel);
  const lanes = kernel.subgroupSize;
  scope.bind("lid", between(0, threads - 1));
  scope.bind("subgroup_id", between(0, Math.ceil(threads / (lanes ?? 1)) - 1));
  scope.bind("lane", between(0, (lanes ?? 128) - 1));
  scope.bind("subgroup_size", lanes === undefined ? between(1, 128) : exactly(lanes));
  return scope;
}

class Proof {
  readonly unproven = new Set<Access>();
  private readonly kernel: Kernel;
  /** For each buffer and array, lengths in elements that hold in every run, and the access width. */
  private readonly memories = new Map<string, { readonly lengths: readonly Dim[]; readonly width: number }>();

  constructor(kernel: Kernel, sizes: KnownSizes) {
    this.kernel = kernel;
    for (const { name, size, reserved, width = 1 } of kernel.buffers) {
      const lengths = [sizes.polynomial(size), reserved].filter((d) => d !== undefined);
      this.memories.set(name, { lengths, width });
    }
    for (const { name, length, width = 1 } of kernel.arrays) this.memories.set(name, { lengths: [length], width });
  }

  block(body: readonly Stmt[], scope: Scope): void {
    for (const s of body) this.statement(s, scope);
  }

  private statement(s: Stmt, scope: Scope): void {
    const seen = new Set<Expr>();
    for (const e of expressions(s)) this.reads(e, scope, seen);
    switch (s.kind) {
      case "let":
        scope.bindLet(s.target.name, s.value);
        return;
      case "store":
        this.access(s, s.buffer, s.index, scope);
        return;
      case "set":
        this.access(s, s.array, s.index, scope);
        return;
      case "if":
        this.block(s.body, scope.within(s.condition));
        return;
      case "for": {
        const inner = scope.within();
        const [from, to] = [scope.of(s.from), scope.of(s.to)];
        inner.bind(s.index.name, {
          min: from.min,
          max: distinct([...to.max.map((d) => subDims(d, 1)), ...lastIteration(from, to, s.step)]),
        });
        this.block(s.body, inner);
        return;
      }
      case "fragment_load":
        this.fragment(s.fragment, s.from, scope);
        return;
      case "fragment_store":
        this.fragment(s.fragment, s.to, scope);
        return;
      default: // mutable variables may have any value
        return;
    }
  }

  private reads(e: Expr, scope: Scope, seen: Set<Expr>): void {
    if (seen.has(e)) return;
    seen.add(e);
    if (e.kind === "load") this.access(e, e.buffer, e.index, scope);
    if (e.kind === "element") this.access(e, e.array, e.index, scope);
    for (const c of children(e)) this.reads(c, scope, seen);
  }

  private access(access: Access, memory: string, index: Expr, scope: Scope): void {
    if (!this.within(memory, scope.of(index))) this.unproven.add(access);
  }

  /** Checks the last element that a fragment accesses: whole lines, a stride apart. */
  private fragment(name: string, place: MatrixPlace, scope: Scope): void {
    const { rows, columns } = fragmentsOf(this.kernel).find((f) => f.name === name)!;
    const [lines, length] = place.order === "row_major" ? [rows, columns] : [columns, rows];
    const [offset, stride] = [scope.of(place.offset), scope.of(place.stride)];
    const line = Math.ceil(length / this.memories.get(place.array)!.width) - 1;
    const last = pairs(offset, stride, (o, s) => addDims(addDims(o, mulDims(s, lines - 1)), line));
    const proven = stride.min >= 0 && this.within(place.array, { min: offset.min, max: last });
    if (!proven) this.unproven.add(place);
  }

  private within(memory: string, index: Bounds): boolean {
    const { lengths, width } = this.memories.get(memory)!;
    return (
      index.min >= 0 &&
      lengths.some((length) => index.max.some((most) => atMost(mulDims(addDims(most, 1), width), length)))
    );
  }
}
