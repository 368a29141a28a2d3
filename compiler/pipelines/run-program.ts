/**
 * Runs a compiled program on the CPU as a device would: kernels in order, in the buffers of the memory plan with all
 * their reuse, states replaced at the end. Any difference on a device then comes from the device or its code
 * generation.
 */
import { InternalError } from "../diagnostics/error.ts";
import { type BufferUse, deviceBytes, slotBytes, spanOf } from "../fusion/index.ts";
import { dimValue, type Sizes } from "../ir/dim.ts";
import type { DType } from "../ir/dtype.ts";
import { inputName } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { interpretKernel } from "../kernel/index.ts";
import { type Program, variantFor } from "../lowering/index.ts";

type Elements = Float32Array | Float16Array | Int32Array | Uint32Array;

/** The results of a run. */
export interface ProgramRun {
  readonly outputs: ReadonlyMap<string, Elements>;
  /** Every graph input after the run, by name: a state that the graph updates has its new value. */
  readonly inputs: ReadonlyMap<string, Elements>;
}

/** Elements as a device stores them: a bool takes four bytes. */
const constructors = { f32: Float32Array, f16: Float16Array, i32: Int32Array, u32: Uint32Array, bool: Uint32Array };

const elementsAt = (dtype: DType, buffer: ArrayBuffer, start: number, length: number): Elements => {
  const Typed = constructors[dtype];
  return new Typed(buffer, start * Typed.BYTES_PER_ELEMENT, length);
};

const wholeWords = (bytes: number): number => Math.ceil(bytes / 4) * 4;

/**
 * Runs a program once on values for each of its graph's inputs, with `sizes` for its symbolic sizes. Slots start out as
 * NaN, so that reads of unwritten memory show.
 */
export function runProgram(
  program: Program,
  inputs: ReadonlyMap<string, ArrayLike<number>>,
  sizes: Sizes = {},
): ProgramRun {
  const { graph, kernels, plan, storage } = program;
  const slots = slotBytes(plan, sizes).map((bytes) => new Uint8Array(wholeWords(bytes)).fill(0xff).buffer);
  const own = new Map<Node, ArrayBuffer>();
  for (const node of graph.inputs) own.set(node, filled(node, inputs.get(inputName(node)), inputName(node), sizes));
  const bufferAt = (use: BufferUse): ArrayBuffer => {
    if (use.kind === "slot") return slots[use.slot]!;
    let buffer = own.get(use.node);
    if (!buffer)
      own.set(use.node, (buffer = filled(use.node, use.node.attrs.values as readonly number[], "a constant", sizes)));
    return buffer;
  };
  const bufferOf = (root: Node): ArrayBuffer => bufferAt(plan.buffers.get(root) ?? { kind: "input", node: root });
  const whole = (node: Node): Elements =>
    elementsAt(node.type.dtype, bufferOf(storage.get(node)?.root ?? node), 0, elementsOf(node, sizes));
  for (const one of kernels) {
    const { kernel, bindings } = variantFor(one, sizes);
    const buffers = bindings.map((b, i) => {
      const { name, dtype } = kernel.buffers[i]!;
      return [name, elementsAt(dtype, bufferOf(b.root), b.start, dimValue(b.length, sizes))] as const;
    });
    interpretKernel(kernel, Object.fromEntries(buffers), sizes);
  }
  const outputs = new Map(graph.outputs.map(({ name, node }) => [name, whole(node).slice()]));
  for (const { from, to, bytes } of plan.copies)
    new Uint8Array(bufferAt(to)).set(new Uint8Array(bufferAt(from), 0, dimValue(bytes, sizes)));
  return { outputs, inputs: new Map(graph.inputs.map((n) => [inputName(n), whole(n)])) };
}

const elementsOf = (node: Node, sizes: Sizes): number => dimValue(spanOf(node.type.axes), sizes);

function filled(node: Node, values: ArrayLike<number> | undefined, what: string, sizes: Sizes): ArrayBuffer {
  const length = elementsOf(node, sizes);
  if (values?.length !== length)
    throw new InternalError(`${what} has ${values?.length ?? "no"} values where ${length} belong`);
  const buffer = new ArrayBuffer(wholeWords(dimValue(deviceBytes(node), sizes)));
  elementsAt(node.type.dtype, buffer, 0, length).set(values);
  return buffer;
}
