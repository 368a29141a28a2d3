/** The optional hardware features that a kernel needs, derived from its declarations and body. */
import { type Expr, widthOf } from "./expr.ts";
import { children } from "./expr-structure.ts";
import { type BufferParam, expressions, fragmentsOf, type Kernel, type Stmt, statements } from "./kernel.ts";

/**
 * f16: arithmetic on f16, or memory of f16 that is not packed into words. subgroups: operations across lanes.
 * subgroup_size: a subgroup size that the kernel requires. subgroup_matrix: fragments.
 */
export const kernelFeatures = ["f16", "subgroups", "subgroup_size", "subgroup_matrix"] as const;
export type KernelFeature = (typeof kernelFeatures)[number];

/** Kinds of expressions that only move values, without arithmetic on them. */
const moved = new Set<Expr["kind"]>(["load", "element", "component", "var"]);

/** The result of the analysis of a kernel. */
interface Needs {
  /** f16 buffers whose elements are only widened to f32: they can be read as 32-bit words, which needs no f16. */
  readonly packed: ReadonlySet<string>;
  readonly features: readonly KernelFeature[];
}

const known = new WeakMap<Kernel, Needs>();

function needsOf(kernel: Kernel): Needs {
  let needs = known.get(kernel);
  if (!needs) known.set(kernel, (needs = new NeedsWalk(kernel).result()));
  return needs;
}

const laneNames = new Set(["subgroup_id", "subgroup_size", "lane"]);

class NeedsWalk {
  private readonly kernel: Kernel;
  private readonly lets = new Map<string, Expr>();
  private readonly usedAsHalves = new Set<Expr>();
  /** Buffers with an element that is used as f16. */
  private readonly buffers = new Set<string>();
  private readonly seen = new Set<Expr>();
  private computesHalves = false;
  private subgroups = false;

  constructor(kernel: Kernel) {
    this.kernel = kernel;
  }

  result(): Needs {
    const { kernel } = this;
    for (const s of statements(kernel.body)) this.statement(s);
    const halves = kernel.buffers.filter((b) => b.dtype === "f16" && b.width !== 8);
    const isPacked = (b: BufferParam) => b.access === "read" && !this.buffers.has(b.name);
    const fragments = fragmentsOf(kernel);
    const declared =
      halves.some((b) => !isPacked(b)) ||
      kernel.arrays.some((a) => a.dtype === "f16" && a.width !== 8) ||
      fragments.some((f) => f.dtype === "f16");
    const needed: Record<KernelFeature, boolean> = {
      f16: this.computesHalves || declared,
      subgroups: this.subgroups || fragments.length > 0,
      subgroup_size: kernel.subgroupSize !== undefined,
      subgroup_matrix: fragments.length > 0,
    };
    return {
      packed: new Set(halves.filter(isPacked).map((b) => b.name)),
      features: kernelFeatures.filter((f) => needed[f]),
    };
  }

  private statement(s: Stmt): void {
    for (const e of expressions(s)) this.visit(e);
    if (s.kind === "let") this.lets.set(s.target.name, s.value);
    else if (s.kind === "fragment_load") this.buffers.add(s.from.array);
    else for (const e of expressions(s)) this.use(e);
  }

  private visit(e: Expr): void {
    if (e.kind === "const" || e.kind === "size") {
      this.computesHalves ||= e.dtype === "f16";
      return;
    }
    if (this.seen.has(e)) return;
    this.seen.add(e);
    if (e.kind === "subgroup" || (e.kind === "var" && laneNames.has(e.name))) this.subgroups = true;
    if (e.dtype === "f16" && !moved.has(e.kind) && !(e.kind === "select" && e.width === 8)) this.computesHalves = true;
    const widens = e.kind === "component" || (e.kind === "cast" && e.dtype !== "f16");
    for (const c of children(e)) {
      this.visit(c);
      if (!widens) this.use(c);
    }
  }

  /** Notes that a value is used as f16, and with it the value that it was moved from. */
  private use(e: Expr): void {
    if (e.dtype !== "f16" || this.usedAsHalves.has(e)) return;
    this.usedAsHalves.add(e);
    if (e.kind === "load") this.buffers.add(e.buffer);
    if (e.kind === "component") {
      if (widthOf(e.vector) === 8) this.computesHalves = true;
      this.use(e.vector);
    }
    const bound = e.kind === "var" && this.lets.get(e.name);
    if (bound) this.use(bound);
  }
}

/** f16 buffers that a kernel reads as words of two elements, or pairs of words, and widens to f32. */
export const packedBuffers = (kernel: Kernel): ReadonlySet<string> => needsOf(kernel).packed;

/** The features that a kernel needs, in the order of `kernelFeatures`. */
export const requiredFeatures = (kernel: Kernel): readonly KernelFeature[] => needsOf(kernel).features;
