/**
 * Moves work out of loops and shares common subexpressions by introducing lets.
 * A value is computed in the outermost block where all it reads is defined; loads do not leave an `if` that guards them,
 * and nothing that reads a mutable variable, an array element or a buffer that the kernel writes is moved. What is loaded of
 * such a buffer is shared by the statements of a block up to the next that may store to it.
 */
import { children, type Expr, head, type Var, variableFor, withChildren } from "./expr.ts";
import { expressions, type Kernel, mapExpressions, type Stmt, threadBuiltins } from "./kernel.ts";

/** An expression by value: equal values share one record. */
interface Value {
  readonly expr: Expr;
  readonly operands: readonly Value[];
  /** Edges from other values and from statements. */
  uses: number;
}

const PINNED = Infinity;

/** Values of a kernel, numbered bottom-up so that structurally equal expressions meet. */
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
  /** Loads of written buffers, with nothing stored since. */
  readonly loaded: Map<Value, Var>;
  /** True for the body of an `if`, which loads do not leave. */
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

  /** The depth of the outermost block that can compute a value; PINNED when it must stay where it is. */
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
    // What an outer block has already computed serves here, too, be it a load that would not leave this block.
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

  /** Whether a value is a load of a written buffer, at an index that does not change, and is used again. */
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

  /** While a value that leaves its block is rebuilt, what it contains at the same level travels with it. */
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

/** The kernel with loop-invariant and repeated work bound once. */
export const hoist = (kernel: Kernel): Kernel => ({ ...kernel, body: new Hoister(kernel).block(kernel.body, false) });
