/** A compiled program as data: WGSL modules and a manifest that a web page can run without the compiler. */
import {
  type AdapterFacts,
  baselineFacts,
  deviceElementBytes,
  dimValue,
  elementCount,
  type Graph,
  gridOf,
  inputName,
  isParameter,
  largestArray,
  type Node,
  type SizedAxis,
  slotBytes,
  type TensorType,
  tensorName,
  UnsupportedError,
} from "../../../compiler/index.ts";
import type { Program } from "../compiler-doors.ts";
import { emitWgsl } from "../emit/wgsl.ts";
import { type Requirements, requirementsOf } from "./requirements.ts";

/** An input, parameter or output of the program. Sizes in elements; data is row-major. */
export interface BundleTensor {
  readonly name: string;
  readonly dtype: string;
  readonly axes: readonly SizedAxis[];
  /** Index into `buffers`. */
  readonly buffer: number;
}

export interface BundleDispatch {
  readonly name: string;
  /** Index into `shaders`. */
  readonly shader: number;
  /** Workgroups along x, y and z. */
  readonly grid: readonly number[];
  /** Bindings 0, 1 ... of group 0; offset and size in bytes. */
  readonly bindings: readonly { readonly buffer: number; readonly offset: number; readonly size: number }[];
}

export interface BundleManifest {
  readonly format: "heddle-webgpu-2";
  readonly graph: string;
  /** Bytes of each buffer. */
  readonly buffers: readonly number[];
  readonly inputs: readonly BundleTensor[];
  /** Filled from weights.safetensors by name. */
  readonly parameters: readonly BundleTensor[];
  readonly constants: readonly {
    readonly buffer: number;
    readonly dtype: string;
    readonly values: readonly number[];
  }[];
  readonly outputs: readonly BundleTensor[];
  /** File names of the WGSL modules, entry point `main`. */
  readonly shaders: readonly string[];
  readonly dispatches: readonly BundleDispatch[];
  /** Device requirements, which run.js requests from the adapter. */
  readonly requires: Requirements;
}

export interface Bundle {
  readonly manifest: BundleManifest;
  /** WGSL by file name. */
  readonly shaders: ReadonlyMap<string, string>;
}

/**
 * Lays out an inference program, given the facts it was compiled for. Throws UnsupportedError for a graph that keeps
 * state, for unbound symbolic sizes, and for a binding larger than a WGSL array.
 */
export function bundleOf(graph: Graph, program: Program, { subgroupSizes }: AdapterFacts = baselineFacts): Bundle {
  requireInference(graph, program);
  const buffers = new Buffers(program);
  const shaders = new Map<string, string>();
  const dispatches = program.kernels.map(({ name, kernel, bindings }) => ({
    name,
    shader: shaderIndex(shaders, emitWgsl(kernel, { subgroupSizes })),
    grid: gridOf(kernel),
    bindings: bindings.map((binding) => boundRange(binding, buffers)),
  }));
  const tensorOf = (name: string, node: Node): BundleTensor => ({
    name,
    dtype: node.type.dtype,
    axes: sized(node.type),
    buffer: buffers.of(program.storage.get(node)?.root ?? node),
  });
  const inputs = program.graph.inputs.filter((n) => !isParameter(n)).map((n) => tensorOf(inputName(n), n));
  const parameters = program.graph.inputs.filter(isParameter).map((n) => tensorOf(inputName(n), n));
  const outputs = program.graph.outputs.map((o) => tensorOf(o.name, o.node));
  const manifest: BundleManifest = {
    format: "heddle-webgpu-2",
    graph: graph.name,
    buffers: buffers.sizes,
    inputs,
    parameters,
    constants: buffers.constants,
    outputs,
    shaders: [...shaders.values()].map((_, i) => shaderName(i)),
    dispatches,
    requires: requirementsOf(
      program.kernels.map((k) => k.kernel),
      { buffers: buffers.sizes, dispatches, subgroupSizes },
    ),
  };
  return { manifest, shaders: new Map([...shaders.keys()].map((text, i) => [shaderName(i), text])) };
}

function requireInference(graph: Graph, { graph: compiled, symbols }: Program): void {
  if (Object.keys(graph.updates).length > 0 || compiled.inputs.some((n) => n.attrs.role === "state"))
    throw new UnsupportedError(`graph @${graph.name} is stateful: a bundle can only hold inference graphs`);
  if (symbols.length > 0)
    throw new UnsupportedError(
      `a bundle needs a number for ${symbols.join(", ")}: give sizes: { ${symbols[0]}: 1 }, or --size ${symbols[0]}=1 on the command line`,
    );
}

/** The range of a buffer that a kernel binds, in bytes. */
function boundRange({ root, start, length }: Program["kernels"][number]["bindings"][number], buffers: Buffers) {
  const bytes = deviceElementBytes(root.type.dtype);
  const size = Math.ceil((dimValue(length) * bytes) / 4) * 4;
  if (size > largestArray)
    throw new UnsupportedError(
      `a kernel reads or writes ${size} bytes of ${tensorName(root)} at once; a WGSL array has at most ${largestArray}`,
    );
  return { buffer: buffers.of(root), offset: start * bytes, size };
}

const sized = (type: TensorType) => type.axes as readonly SizedAxis[];
const shaderName = (index: number) => `kernel-${index}.wgsl`;

/** Identical kernels have identical text and share one module. */
function shaderIndex(shaders: Map<string, string>, text: string): number {
  const known = [...shaders.keys()].indexOf(text);
  if (known >= 0) return known;
  shaders.set(text, text);
  return shaders.size - 1;
}

/** Numbers the buffers of a program in order of first use. */
class Buffers {
  readonly sizes: number[] = [];
  readonly constants: { buffer: number; dtype: string; values: readonly number[] }[] = [];
  private readonly program: Program;
  private readonly slots: readonly number[];
  private readonly byNode = new Map<Node, number>();
  private readonly bySlot = new Map<number, number>();

  constructor(program: Program) {
    this.program = program;
    this.slots = slotBytes(program.plan);
  }

  of(root: Node): number {
    const use = this.program.plan.buffers.get(root);
    if (use?.kind === "slot") return known(this.bySlot, use.slot, () => this.add(this.slots[use.slot]!));
    return known(this.byNode, root, () => {
      const buffer = this.add(elementCount(sized(root.type)) * deviceElementBytes(root.type.dtype));
      if (use?.kind === "table") {
        this.constants.push({ buffer, dtype: root.type.dtype, values: root.attrs.values as readonly number[] });
      }
      return buffer;
    });
  }

  private add(bytes: number): number {
    return this.sizes.push(Math.max(16, Math.ceil(bytes / 16) * 16)) - 1;
  }
}

function known<K>(map: Map<K, number>, key: K, make: () => number): number {
  const found = map.get(key);
  if (found !== undefined) return found;
  const made = make();
  map.set(key, made);
  return made;
}
