/**
 * Attention, forward and backward, without the [query, key] matrix in memory. A thread holds a few rows of its own side
 * (queries, or keys for the gradients of k and v) in registers and walks the other side once.
 * Dao et al. 2022 (FlashAttention): the running maximum and sum of section 3.1, the gradients of appendix B.2.
 */
import type { Node } from "../ir/node.ts";
import { type Axis, findAxis, hasAxis } from "../ir/type.ts";
import { builtin, type Expr, float, floatArith, int, type Var, variable } from "../kernel/expr.ts";
import type { Stmt } from "../kernel/kernel.ts";
import { add, div, lt, min, mod, mul, select } from "../kernel/simplify.ts";
import { coresOf, type Store } from "./fuse-demand.ts";
import { attentionRows, maskOf, type Placement } from "./fuse-groups.ts";
import { type Env, restrict } from "./lower-access.ts";
import { type LoweredKernel, type Lowering, unflatten } from "./lower-kernel.ts";
import { loopOver } from "./lower-loops.ts";
import { coordinatesOf, envAt } from "./lower-row-reduction.ts";
import { span } from "./lower-values.ts";

/** Stands for minus infinity, as in the op's own meaning. */
const hidden = -1e30;
const least = 1e-30;

const fadd = (a: Expr, b: Expr) => floatArith("add", a, b);
const fsub = (a: Expr, b: Expr) => floatArith("sub", a, b);
const fmul = (a: Expr, b: Expr) => floatArith("mul", a, b);

/** The attention nodes of one kernel and what they have in common. */
interface Parts {
  readonly cores: readonly Node[];
  readonly dot: Axis;
  readonly over: Axis;
  readonly scale: number;
  readonly q: Node;
  readonly k: Node;
  readonly v: Node | undefined;
  readonly mask: Node | undefined;
  /** The axes of a thread, and those of the other side that it walks. */
  readonly rows: readonly Axis[];
  readonly walked: readonly Axis[];
  /** The axes of a value besides rows and keys. */
  readonly widths: readonly Axis[];
}

function partsOf(cores: readonly Node[]): Parts {
  const main = cores.find((c) => c.op !== "attention_lse") ?? cores[0]!;
  const [q, k] = [main.operands[0]!, main.operands[1]!];
  const v = main.op === "attention_lse" ? undefined : main.operands[2]!;
  const dot = findAxis(q.type, main.attrs.dot as string)!;
  const over = findAxis(k.type, main.attrs.over as string)!;
  const logits = [...q.type.axes, ...k.type.axes.filter((a) => !hasAxis(q.type, a.name))].filter(
    (a) => a.name !== dot.name,
  );
  const rows = attentionRows(main);
  return {
    cores,
    dot,
    over,
    scale: main.attrs.scale as number,
    q,
    k,
    v,
    mask: maskOf(main),
    rows,
    walked: logits.filter((a) => !rows.some((r) => r.name === a.name)),
    widths: v ? v.type.axes.filter((a) => !logits.some((l) => l.name === a.name)) : [],
  };
}

/** Registers a thread spends on its rows: few enough that unrolled code stays short. */
const rowRegisters = 128;
const mostRows = 4;

/** One row of a thread: its index, and whether it exists. */
interface Row {
  readonly env: Env;
  readonly inside: Expr;
}

class AttentionLowering {
  private readonly k: Lowering;
  private readonly p: Parts;
  private readonly places: Placement;

  constructor(k: Lowering, p: Parts, places: Placement) {
    this.k = k;
    this.p = p;
    this.places = places;
  }

  lower(): LoweredKernel {
    const { rows, k: keys, q } = this.p;
    // Rows of one thread differ along an axis that the walked side lacks, so that what is walked serves all of them.
    const forward = this.p.walked.some((a) => a.name === this.p.over.name);
    const walked = forward ? [keys, ...(this.p.v ? [this.p.v] : [])] : [q];
    const tiled = rows.find((a) => walked.every((o) => !hasAxis(o.type, a.name)));
    const size = tiled ? Number(tiled.size) : 1;
    let tile = 1;
    while (tile < mostRows && tile * 2 * Number(this.p.dot.size) <= rowRegisters && size >= tile * 2) tile *= 2;
    const tiles = Math.ceil(size / tile);
    const others = rows.filter((a) => a !== tiled);
    const shape = this.k.perThread(tiles * span(others), (item) => {
      const out: Stmt[] = [];
      const bound = this.k.let("t", mod(item, int(tiles)));
      const rest = this.k.let("o", div(item, int(tiles)));
      out.push(bound.stmt, rest.stmt);
      const common = unflatten(rest.target, others);
      const mine = Array.from({ length: tile }, (_, i): Row => {
        const exact = add(mul(bound.target, int(tile)), int(i));
        const env = tiled ? new Map([...common, [tiled.name, min(exact, int(size - 1))]]) : common;
        return { env, inside: lt(exact, int(size)) };
      });
      return [...out, ...(this.p.cores[0]!.op.startsWith("attention_grad") ? this.backward(mine) : this.forward(mine))];
    });
    return this.k.finish("attention", shape);
  }

  /** The value of an operand along one of its own axes' elements. */
  private vector(node: Node, env: Env, axes: readonly Axis[]): Expr[] {
    return Array.from({ length: span(axes) }, (_, i) => {
      const at = new Map([...env, ...unflatten(int(i), axes)]);
      return this.k.values.at(node, restrict(at, node));
    });
  }

  private bind(out: Stmt[], values: readonly Expr[], prefix: string): Expr[] {
    return values.map((value) => {
      const { target, stmt } = this.k.let(prefix, value);
      out.push(stmt);
      return target;
    });
  }

  private variables(out: Stmt[], count: number, prefix: string, start = 0): Var[] {
    return Array.from({ length: count }, () => {
      const target = variable(this.k.names.fresh(prefix), "f32");
      out.push({ kind: "var", target, value: float(start) });
      return target;
    });
  }

  /** Σ a·b, one statement a term. */
  private sum(out: Stmt[], a: readonly Expr[], b: readonly Expr[]): Expr {
    const total = this.variables(out, 1, "s")[0]!;
    a.forEach((x, i) => out.push({ kind: "assign", target: total, value: fadd(total, fmul(x, b[i]!)) }));
    const { target, stmt } = this.k.let("s", total);
    out.push(stmt);
    return target;
  }

  private visible(env: Env): Expr | undefined {
    return this.p.mask && this.k.values.at(this.p.mask, restrict(env, this.p.mask));
  }

  private forward(rows: readonly Row[]): Stmt[] {
    const { q, k, v, dot, over, widths } = this.p;
    const out: Stmt[] = [];
    const queries = rows.map((r) =>
      this.bind(
        out,
        this.vector(q, r.env, [dot]).map((x) => fmul(x, float(this.p.scale))),
        "q",
      ),
    );
    const tops = this.variables(out, rows.length, "top", hidden);
    const totals = this.variables(out, rows.length, "l");
    const mixed = rows.map(() => this.variables(out, v ? span(widths) : 0, "o"));
    const loop = loopOver(this.k, [over], (key) => {
      const body: Stmt[] = [];
      const at = (r: Row) => new Map([...r.env, ...key]);
      const keyVector = this.bind(body, this.vector(k, at(rows[0]!), [dot]), "k");
      const weights = rows.map((r, i) => {
        const raw = this.sum(body, queries[i]!, keyVector);
        const visible = this.visible(at(r));
        const logit = visible ? select(visible, raw, float(hidden)) : raw;
        const [top] = this.bind(body, [floatArith("max", tops[i]!, logit)], "m");
        const [fade] = this.bind(body, [builtin("exp", fsub(tops[i]!, top!))], "f");
        const raised = builtin("exp", fsub(logit, top!));
        const [weight] = this.bind(body, [visible ? select(visible, raised, float(0)) : raised], "p");
        body.push({ kind: "assign", target: tops[i]!, value: top! });
        body.push({ kind: "assign", target: totals[i]!, value: fadd(fmul(totals[i]!, fade!), weight!) });
        return { weight: weight!, fade: fade! };
      });
      if (!v) return body;
      const value = this.bind(body, this.vector(v, at(rows[0]!), widths), "w");
      rows.forEach((_, i) => {
        mixed[i]!.forEach((o, w) => {
          const next = fadd(fmul(o, weights[i]!.fade), fmul(weights[i]!.weight, value[w]!));
          body.push({ kind: "assign", target: o, value: next });
        });
      });
      return body;
    });
    out.push(...loop);
    rows.forEach((r, i) => {
      const [total] = this.bind(out, [floatArith("max", totals[i]!, float(least))], "l");
      for (const core of this.p.cores) {
        if (core.op === "attention_lse") this.bindRow(out, core, r, [fadd(tops[i]!, builtin("log", total!))]);
        else
          this.bindRow(
            out,
            core,
            r,
            mixed[i]!.map((o) => floatArith("div", o, total!)),
          );
      }
      out.push(...this.storeRow(r));
    });
    return out;
  }

  private backward(rows: readonly Row[]): Stmt[] {
    const { q, k, dot, widths, cores } = this.p;
    const [v, lse, delta, dy] = [2, 3, 4, 5].map((i) => cores[0]!.operands[i]!) as [Node, Node, Node, Node];
    const out: Stmt[] = [];
    const sums = cores.map((core) =>
      rows.map(() => this.variables(out, core.op === "attention_grad_v" ? span(widths) : Number(dot.size), "g")),
    );
    const ownsQueries = cores[0]!.op === "attention_grad_q";
    const needsLogits = cores.some((c) => c.op !== "attention_grad_v");
    const loop = loopOver(this.k, this.p.walked, (other) => {
      const body: Stmt[] = [];
      rows.forEach((r, i) => {
        const at = new Map([...r.env, ...other]);
        const [queries, keys] = [this.vector(q, at, [dot]), this.vector(k, at, [dot])];
        const raw = fmul(this.sum(body, queries, keys), float(this.p.scale));
        const visible = this.visible(at);
        const raised = builtin("exp", fsub(raw, this.k.values.at(lse, restrict(at, lse))));
        const [weight] = this.bind(body, [visible ? select(visible, raised, float(0)) : raised], "p");
        const upstream = this.vector(dy, at, widths);
        let dLogit: Expr | undefined;
        if (needsLogits) {
          const seen = this.sum(body, upstream, this.vector(v, at, widths));
          const centred = fsub(seen, this.k.values.at(delta, restrict(at, delta)));
          dLogit = this.bind(body, [fmul(fmul(weight!, centred), float(this.p.scale))], "e")[0]!;
        }
        cores.forEach((core, c) => {
          const [factor, vector] =
            core.op === "attention_grad_v" ? [weight!, upstream] : [dLogit!, ownsQueries ? keys : queries];
          sums[c]![i]!.forEach((g, e) =>
            body.push({ kind: "assign", target: g, value: fadd(g, fmul(factor, vector[e]!)) }),
          );
        });
      });
      return body;
    });
    out.push(...loop);
    rows.forEach((r, i) => {
      cores.forEach((core, c) => this.bindRow(out, core, r, sums[c]![i]!));
      out.push(...this.storeRow(r));
    });
    return out;
  }

  /** Says what a core is at each element of one row. */
  private bindRow(out: Stmt[], core: Node, row: Row, values: readonly Expr[]): void {
    const axes = this.widthsOf(core);
    this.bind(out, values, "y").forEach((value, i) => {
      const env = new Map([...row.env, ...unflatten(int(i), axes)]);
      this.k.values.bind(core, restrict(env, core), value);
    });
  }

  private widthsOf(node: Node): readonly Axis[] {
    return node.type.axes.filter((a) => !this.p.rows.some((r) => r.name === a.name));
  }

  private storeRow(row: Row): Stmt[] {
    const group = this.k.fused.group!;
    const rows = coordinatesOf(group.rows, row.env);
    const items = this.k.fused.stores.flatMap((store) =>
      this.widthIndices(store).map((w) => {
        return { store, env: envAt(store.value, this.places, new Map([...rows, ...w])) };
      }),
    );
    const stores = this.k.stores(items);
    return row.inside.kind === "const" ? stores : [{ kind: "if", condition: row.inside, body: stores }];
  }

  /** Every index of the coordinates `w0`, `w1` ... that a stored value has besides its row. */
  private widthIndices(store: Store): Map<string, Expr>[] {
    const env = this.places.get(store.value)!.env!;
    const core = this.p.cores.find((c) => this.widthsOf(c).length > 0 && usesWidths(env)) ?? this.p.cores[0]!;
    const source = this.p.cores.includes(store.value) ? store.value : core;
    const axes = usesWidths(env) ? this.widthsOf(source) : [];
    const names = axes.map((a, i) => ({ name: `w${i}`, size: a.size }));
    return Array.from({ length: span(axes) }, (_, i) => unflatten(int(i), names));
  }
}

const usesWidths = (env: Env): boolean => {
  const mentionsWidth = (e: Expr): boolean => {
    if (e.kind === "var") return /^w\d+$/.test(e.name);
    return e.kind === "arith" ? mentionsWidth(e.a) || mentionsWidth(e.b) : false;
  };
  return [...env.values()].some(mentionsWidth);
};

export function lowerAttention(k: Lowering, places: Placement): LoweredKernel {
  const group = k.fused.group!;
  const used = coresOf(group, k.fused.stores, places);
  return new AttentionLowering(k, partsOf(group.cores.filter((c) => used.has(c))), places).lower();
}
