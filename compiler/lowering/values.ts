/** Expressions for graph values: what a fused kernel computes at one index, down to loads of what it reads. */
import { InternalError } from "../diagnostics/error.ts";
import {
  address,
  dimExpr,
  type Env,
  envKey,
  operandEnv,
  type Part,
  restrict,
  settled,
  sourcesOf,
} from "../fusion/index.ts";
import type { Dim } from "../ir/dim.ts";
import type { DType } from "../ir/dtype.ts";
import type { Node } from "../ir/node.ts";
import { indexMapOf, isAffine, isElementwise, operandsAs, opRecord, sourceOf } from "../ir/op.ts";
import { findAxis } from "../ir/type.ts";
import { cast, type Expr, float, int, load, opCall, type Stmt, variable } from "../kernel/index.ts";
import { add, and, clampIndex, le, lt, select } from "../kernel/simplify.ts";
import type { KernelShape, Place } from "./kernel-shape.ts";

/** The dtype of a value in registers: f16 is a storage format only, computed in f32. */
export const registerType = (dtype: DType): DType => (dtype === "f16" ? "f32" : dtype);

/** The name by which loads and stores refer to a region until buffers are assigned. */
export const regionName = (index: number): string => `@${index}`;

/** An index converted to another dtype; constants are converted directly. */
const position = (index: Expr, dtype: DType): Expr =>
  index.kind === "const" ? { ...index, dtype } : cast(index, dtype);

export class Values {
  private readonly shape: KernelShape;
  /** Regions that this kernel updates in place: their loads must precede any store. */
  private readonly updated: ReadonlySet<number>;
  private readonly known = new Map<Node, Map<string, Expr>>();
  private loads = 0;
  private early: Stmt[] = [];
  /** Whether results of the prologue reductions are available; false while lowering the prologue itself. */
  private readonly keeps: boolean;

  constructor(shape: KernelShape, updated: ReadonlySet<number>, keeps = true) {
    this.shape = shape;
    this.updated = updated;
    this.keeps = keeps;
  }

  /** The address of an element of a value stored at a place. */
  addressAt({ region, shift }: Place, env: Env): Expr {
    const { axes } = this.shape.regions[region]!;
    if (!shift) return address(axes, env);
    return address(axes, new Map([...env, [shift.axis, this.shifted(shift, env)]]));
  }

  /** The index along a part's axis within the tensor that contains it. */
  private shifted({ axis, offset, start }: Part, env: Env): Expr {
    const index = add(env.get(axis)!, dimExpr(offset));
    return start ? add(index, this.at(start, new Map())) : index;
  }

  /** A bounds check for an element of a part whose start is only known at run time; undefined if none is needed. */
  insideAt({ region, shift }: Place, env: Env): Expr | undefined {
    if (!shift?.start) return undefined;
    const size = this.shape.regions[region]!.axes.find((a) => a.name === shift.axis)!.size;
    const index = this.shifted(shift, env);
    return and(le(int(0), index), lt(index, dimExpr(size)));
  }

  /** Records that a value at an index is available as an expression, such as a register. */
  bind(node: Node, env: Env, value: Expr): void {
    this.memo(node).set(envKey(env, node), value);
  }

  /** The loads of tensors that the kernel also writes, made since the last call; they belong before the stores. */
  takeEarly(): Stmt[] {
    const early = this.early;
    this.early = [];
    return early;
  }

  private memo(node: Node): Map<string, Expr> {
    let memo = this.known.get(node);
    if (!memo) this.known.set(node, (memo = new Map()));
    return memo;
  }

  /** The value of a node at an index, as an expression in register dtypes. */
  at(node: Node, env: Env): Expr {
    const memo = this.memo(node);
    const key = envKey(env, node);
    let value = memo.get(key);
    if (!value) {
      // Envs that differ only in the index of a size-1 axis share a value, which must not use a counter of either.
      value = this.compute(node, settled(env, node));
      memo.set(key, value);
    }
    return value;
  }

  private compute(node: Node, env: Env): Expr {
    const place = this.shape.reads.get(node);
    if (place) return this.load(node, place, env);
    // Bound to a row of the workgroup by `keptRows`; access analysis also asks about rows that are not bound.
    if (this.keeps && this.shape.kept.has(node)) return variable("kept", registerType(node.type.dtype));
    if (isElementwise(node)) return this.elementwise(node, env);
    if (isAffine(node)) return this.at(node.operands[0]!, operandEnv(node, env));
    if (indexMapOf(node)) return this.guarded(node, env);
    const dtype = registerType(node.type.dtype);
    if (operandsAs(node, "table").length > 0) return this.gather(node, env);
    switch (sourceOf(node)) {
      case "constant":
        return float(node.attrs.value as number, dtype);
      case "size":
        return cast(dimExpr(node.attrs.of as Dim), dtype);
      case "position":
        return position(env.get(node.type.axes[0]!.name)!, dtype);
      default:
        throw new InternalError(
          `lower: ${node.op} (${node.path || "no path"}) is needed at an index where no kernel computes it`,
        );
    }
  }

  private elementwise(node: Node, env: Env): Expr {
    const args = node.operands.map((o) => this.at(o, restrict(env, o)));
    const dtype = registerType(node.type.dtype);
    // An elementwise op without WGSL text is a conversion.
    return opRecord(node.op).wgsl ? opCall(node.op, dtype, args) : cast(args[0]!, dtype);
  }

  private load(node: Node, place: Place, env: Env): Expr {
    const { dtype } = node.type;
    const element = load(regionName(place.region), dtype, this.addressAt(place, env));
    if (!this.updated.has(place.region)) return cast(element, registerType(dtype));
    const target = variable(`ld${this.loads++}`, dtype);
    this.early.push({ kind: "let", target, value: element });
    return cast(target, registerType(dtype));
  }

  /** A movement op that reads one of its operands depending on the index, or none (padding). */
  private guarded(node: Node, env: Env): Expr {
    const { outside } = indexMapOf(node)!;
    const sources = sourcesOf(node, env).map((s) => ({ value: this.at(s.operand, s.env), inside: s.inside }));
    const last = outside === undefined ? undefined : float(outside, registerType(node.type.dtype));
    return sources.reduceRight<Expr | undefined>(
      (rest, { value, inside }) => (inside && rest ? select(inside, value, rest) : value),
      last,
    )!;
  }

  private gather(node: Node, env: Env): Expr {
    const [table, index] = [operandsAs(node, "table")[0]!, operandsAs(node, "index")[0]!];
    const axis = findAxis(table.type, node.attrs.axis as string)!;
    const at = cast(this.at(index, restrict(env, index)), "i32");
    return this.at(table, restrict(new Map([...env, [axis.name, clampIndex(at, dimExpr(axis.size))]]), table));
  }
}
