/** Expressions for graph values: what a fused kernel computes at one index, down to the tensors that it reads. */
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

/** The dtype that a value has in a register: f16 is a storage format, computed with in f32. */
export const registerType = (dtype: DType): DType => (dtype === "f16" ? "f32" : dtype);

/** Loads and stores name their region by this until bindings are assigned. */
export const regionName = (index: number): string => `@${index}`;

/** An index as a number of another dtype: itself where it is known. */
const position = (index: Expr, dtype: DType): Expr =>
  index.kind === "const" ? { ...index, dtype } : cast(index, dtype);

export class Values {
  private readonly shape: KernelShape;
  /** Regions that this kernel updates in place: what it loads of them is loaded before any store. */
  private readonly updated: ReadonlySet<number>;
  private readonly known = new Map<Node, Map<string, Expr>>();
  private loads = 0;
  private early: Stmt[] = [];
  /** Whether what reductions before the kernel made is there, as it is not yet in these. */
  private readonly keeps: boolean;

  constructor(shape: KernelShape, updated: ReadonlySet<number>, keeps = true) {
    this.shape = shape;
    this.updated = updated;
    this.keeps = keeps;
  }

  /** The address of an element of a value that lies at a place. */
  addressAt({ region, shift }: Place, env: Env): Expr {
    const { axes } = this.shape.regions[region]!;
    if (!shift) return address(axes, env);
    return address(axes, new Map([...env, [shift.axis, this.shifted(shift, env)]]));
  }

  /** The index along the axis of a part in the tensor that it is a part of. */
  private shifted({ axis, offset, start }: Part, env: Env): Expr {
    const index = add(env.get(axis)!, dimExpr(offset));
    return start ? add(index, this.at(start, new Map())) : index;
  }

  /** Whether an element of a part lies in the tensor at all, where only a run says where the part begins. */
  insideAt({ region, shift }: Place, env: Env): Expr | undefined {
    if (!shift?.start) return undefined;
    const size = this.shape.regions[region]!.axes.find((a) => a.name === shift.axis)!.size;
    const index = this.shifted(shift, env);
    return and(le(int(0), index), lt(index, dimExpr(size)));
  }

  /** Says that a value at an index is in a register. */
  bind(node: Node, env: Env, value: Expr): void {
    this.memo(node).set(envKey(env, node), value);
  }

  /** The loads of written tensors made since the last call; they belong before the stores. */
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
      // Where two envs are one, the value must fit both: a counter of one of them is not bound at the other.
      value = this.compute(node, settled(env, node));
      memo.set(key, value);
    }
    return value;
  }

  private compute(node: Node, env: Env): Expr {
    const place = this.shape.reads.get(node);
    if (place) return this.load(node, place, env);
    // Bound for the rows of a workgroup; whoever only looks at what is loaded asks at other rows too.
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
    // What has no WGSL text of its own is a conversion.
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

  /** A movement that reads one operand or another, or none. */
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
