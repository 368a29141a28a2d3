/** Which optional features of the hardware a kernel needs: derived from its declarations and its body, never said beside them. */
import { children, type Expr } from "./expr.ts";
import { type BufferParam, expressions, fragmentsOf, type Kernel, type Stmt, statements } from "./kernel.ts";

/**
 * f16: arithmetic on halves, or their storage by ones, twos or fours. subgroups: operations across lanes.
 * subgroup_size: a size that the kernel asks for. subgroup_matrix: fragments.
 */
export const kernelFeatures = ["f16", "subgroups", "subgroup_size", "subgroup_matrix"] as const;
export type KernelFeature = (typeof kernelFeatures)[number];

/** What is not yet computed when it has this kind: it was moved here from memory. */
const moved = new Set<Expr["kind"]>(["load", "element", "component", "var"]);

/** How halves are used in a kernel. */
interface Halves {
  /** Buffers whose halves are only widened to f32: they may be read as words, which needs no f16. */
  readonly packed: ReadonlySet<string>;
  readonly needed: boolean;
}

const known = new WeakMap<Kernel, Halves>();

function halvesOf(kernel: Kernel): Halves {
  let halves = known.get(kernel);
  if (!halves) known.set(kernel, (halves = new HalfWalk(kernel).result()));
  return halves;
}

class HalfWalk {
  private readonly kernel: Kernel;
  private readonly lets = new Map<string, Expr>();
  private readonly usedAsHalves = new Set<Expr>();
  /** Buffers of which an element is used as a half. */
  private readonly buffers = new Set<string>();
  private readonly seen = new Set<Expr>();
  private computed = false;

  constructor(kernel: Kernel) {
    this.kernel = kernel;
  }

  result(): Halves {
    for (const s of statements(this.kernel.body)) this.statement(s);
    const halves = this.kernel.buffers.filter((b) => b.dtype === "f16" && b.width !== 8);
    const isPacked = (b: BufferParam) => b.access === "read" && !this.buffers.has(b.name);
    const declared =
      halves.some((b) => !isPacked(b)) ||
      this.kernel.arrays.some((a) => a.dtype === "f16" && a.width !== 8) ||
      fragmentsOf(this.kernel).some((f) => f.dtype === "f16");
    return { packed: new Set(halves.filter(isPacked).map((b) => b.name)), needed: this.computed || declared };
  }

  private statement(s: Stmt): void {
    for (const e of expressions(s)) this.visit(e);
    if (s.kind === "let") this.lets.set(s.target.name, s.value);
    else if (s.kind === "fragment_load") this.buffers.add(s.from.array);
    else for (const e of expressions(s)) this.use(e);
  }

  private visit(e: Expr): void {
    if (this.seen.has(e)) return;
    this.seen.add(e);
    if (e.dtype === "f16" && !moved.has(e.kind) && !(e.kind === "select" && e.width === 8)) this.computed = true;
    const widens = e.kind === "component" || (e.kind === "cast" && e.dtype !== "f16");
    for (const c of children(e)) {
      this.visit(c);
      if (!widens) this.use(c);
    }
  }

  /** Notes that a value is needed as halves, and with it what it was moved from. */
  private use(e: Expr): void {
    if (e.dtype !== "f16" || this.usedAsHalves.has(e)) return;
    this.usedAsHalves.add(e);
    if (e.kind === "load") this.buffers.add(e.buffer);
    if (e.kind === "component") {
      this.computed ||= e.vector.kind !== "const" && "width" in e.vector && e.vector.width === 8;
      this.use(e.vector);
    }
    const bound = e.kind === "var" && this.lets.get(e.name);
    if (bound) this.use(bound);
  }
}

/** Buffers of halves that a kernel reads as words of two, or pairs of words, and widens. */
export const packedBuffers = (kernel: Kernel): ReadonlySet<string> => halvesOf(kernel).packed;

const laneNames = new Set(["subgroup_id", "subgroup_size", "lane"]);

function exchanges(kernel: Kernel): boolean {
  const seen = new Set<Expr>();
  const visit = (e: Expr): boolean => {
    if (seen.has(e)) return false;
    seen.add(e);
    return e.kind === "subgroup" || (e.kind === "var" && laneNames.has(e.name)) || children(e).some(visit);
  };
  for (const s of statements(kernel.body)) if (expressions(s).some(visit)) return true;
  return false;
}

/** The features that a kernel needs, in the order of `kernelFeatures`. */
export function requiredFeatures(kernel: Kernel): KernelFeature[] {
  const matrices = fragmentsOf(kernel).length > 0;
  const needed: Record<KernelFeature, boolean> = {
    f16: halvesOf(kernel).needed,
    subgroups: matrices || exchanges(kernel),
    subgroup_size: kernel.subgroupSize !== undefined,
    subgroup_matrix: matrices,
  };
  return kernelFeatures.filter((f) => needed[f]);
}
