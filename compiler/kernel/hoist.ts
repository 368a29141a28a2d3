/**
 * Loop-invariant code motion and common subexpression elimination, by introducing lets. A value is computed in the
 * outermost block where all its operands are defined. Loads stay inside an `if` that guards them. Nothing that reads a
 * mutable variable, an array element or a buffer that the kernel writes is moved; loads of such a buffer are only
 * shared within a block, up to the next statement that may store to it.
 */
import { type Expr, type Var, variableFor } from "./expr.ts";
import { children, head, withChildren } from "./expr-structure.ts";
import { expressions, type Kernel, mapExpressions, type Stmt, threadBuiltins } from "./kernel.ts";

/** A hash-consed expression: structurally equal expressions share one record. */
interface Value {
  readonly expr: Expr;
  readonly operands: readonly Value[];
  /** Uses by other values and by statements. */
  uses: number;
}

const PINNED = Infinity;

/** Value numbering: maps structurally equal expressions of a kernel to one value, bottom-up. */
class Values {
  private readonly byExpr = new Map<Expr, Value>();
  private readonly byKey = new Map<string, Value>();
  private readonly numbers = new Map<Value, number>();

  of(e: Expr): Value {
    const known = this.byExpr.get(e);
    if (known) return known;
    const operands = children(e).map((c) => this.of(c));
    const key = `${head(e)}(${operands.map((o) => this.numbers.get(o))})`;
    let value = this.byKey.get(key);
    if (!value) {
      value = { expr: e, operands, uses: 0 };
      for (const o of operands) o.uses++;
      this.byKey.set(key, value);
      this.numbers.set(value, this.numbers.size);
    }
    this.byExpr.set(e, value);
    return value;
  }
}

interface Block {
  readonly out: Stmt[];
  readonly lets: Map<Value, Var>;
  readonly levels: Map<Value, number>;
  /** Available loads of written buffers: nothing was stored to the buffer since. */
  readonly loaded: Map<Value, Var>;
  /** True for the body of an `if`; loads are not hoisted out of it. */
  readonly guarded: boolean;
}

class Hoister {
  private readonly values = new Values();
  private readonly defined = new Map<string, number>(threadBuiltins.map((n) => [n, 0]));
  private readonly mutable = new Set<string>();
  private readonly written: ReadonlySet<string>;
  private readonly blocks: Block[] = [];
  private next = 0;

  constructor(kernel: Kernel) {
    this.written = new Set(kernel.buffers.filter((b) => b.access === "read_write").map((b) => b.name));
    this.count(kernel.body);
  }

  private count(body: readonly Stmt[]): void {
    for (const s of body) {
      for (const e of expressions(s)) this.values.of(e).uses++;
      if (s.kind === "var") this.mutable.add(s.target.name);
      if (s.kind === "for" || s.kind === "if") this.count(s.body);
    }
  }

  block(body: readonly Stmt[], guarded: boolean, index?: Var): Stmt[] {
    const block: Block = { out: [], lets: new Map(), levels: new Map(), loaded: new Map(), guarded };
    this.blocks.push(block);
    const depth = this.blocks.length - 1;
    if (index) this.defined.set(index.name, depth);
    for (const s of body) {
      if (s.kind === "for" || s.kind === "if" || s.kind === "barrier" || s.kind === "fragment_store")
        block.loaded.clear();
      const rewritten = mapExpressions(s, (e) => this.rewrite(this.values.of(e), true));
      if (rewritten.kind === "for")
        block.out.push({ ...rewritten, body: this.block(rewritten.body, false, rewritten.index) });
      else if (rewritten.kind === "if") block.out.push({ ...rewritten, body: this.block(rewritten.body, true) });
      else block.out.push(rewritten);
      if (s.kind === "let" || s.kind === "var") this.defined.set(s.target.name, depth);
      if (s.kind === "store")
        for (const v of block.loaded.keys()) if (hasBuffer(v.expr, s.buffer)) block.loaded.delete(v);
      if (s.kind === "for" || s.kind === "if") block.loaded.clear();
    }
    this.blocks.pop();
    return block.out;
  }

  /** The depth of the outermost block that can compute a value; PINNED if it must stay where it is. */
  private level(v: Value): number {
    const block = this.blocks[this.blocks.length - 1]!;
    const known = block.levels.get(v);
    if (known !== undefined) return known;
    const level = Math.max(this.ownLevel(v.expr), ...v.operands.map((o) => this.level(o)));
    block.levels.set(v, level);
    return level;
  }

  private ownLevel(e: Expr): number {
    if (e.kind === "var") return this.mutable.has(e.name) ? PINNED : (this.defined.get(e.name) ?? PINNED);
    if (e.kind === "element" || e.kind === "subgroup" || e.kind === "any") return PINNED;
    if (e.kind !== "load") return 0;
    if (this.written.has(e.buffer)) return PINNED;
    for (let depth = this.blocks.length - 1; depth > 0; depth--) if (this.blocks[depth]!.guarded) return depth;
    return 0;
  }

  private rewrite(v: Value, root: boolean): Expr {
    const e = v.expr;
    if (e.kind === "const" || e.kind === "var" || e.kind === "size") return e;
    const level = this.level(v);
    if (level === PINNED) return this.isShared(v) ? this.loadedOnce(v) : this.rebuild(v);
    // Reuse what an outer block has already computed, including loads that could not be hoisted from here.
    for (let depth = this.blocks.length - 1; depth >= 0; depth--) {
      const bound = this.blocks[depth]!.lets.get(v);
      if (bound) return bound;
    }
    const here = this.blocks.length - 1;
    const shared = v.uses > 1;
    if (level === here && !shared) return this.rebuild(v);
    if (level < here && !shared && !root && this.parentLeaves(level)) return this.rebuild(v);
    const target = variableFor(`h${this.next++}`, e);
    const outer = this.blocks[level]!;
    const value = this.rebuild(v);
    outer.out.push({ kind: "let", target, value });
    outer.lets.set(v, target);
    this.defined.set(target.name, level);
    return target;
  }

  /** Whether a value is a load of a written buffer at an invariant index with several uses. */
  private readonly isShared = (v: Value): boolean =>
    v.expr.kind === "load" && v.uses > 1 && v.operands.every((o) => this.level(o) !== PINNED);

  private loadedOnce(v: Value): Expr {
    const { loaded, out } = this.blocks[this.blocks.length - 1]!;
    const known = loaded.get(v);
    if (known) return known;
    const target = variableFor(`h${this.next++}`, v.expr);
    const value = this.rebuild(v);
    out.push({ kind: "let", target, value });
    loaded.set(v, target);
    return target;
  }

  /** The levels of the values being rebuilt: an operand at the level of its hoisted parent is hoisted as part of it. */
  private readonly travelling: number[] = [];
  private parentLeaves(level: number): boolean {
    return this.travelling.length > 0 && this.travelling[this.travelling.length - 1] === level;
  }

  private rebuild(v: Value): Expr {
    if (v.operands.length === 0) return v.expr;
    this.travelling.push(this.level(v));
    const rebuilt = withChildren(
      v.expr,
      v.operands.map((o) => this.rewrite(o, false)),
    );
    this.travelling.pop();
    return rebuilt;
  }
}

const hasBuffer = (e: Expr, buffer: string): boolean => e.kind === "load" && e.buffer === buffer;

/** The kernel with loop-invariant and common subexpressions hoisted into lets. */
export const hoist = (kernel: Kernel): Kernel => ({ ...kernel, body: new Hoister(kernel).block(kernel.body, false) });
