/** Runs compiled kernels in plain JavaScript, so that code generation is tested without a device. */
import {
  type AdapterFacts,
  allocate,
  baselineFacts,
  compileKernels,
  type Graph,
  inputName,
  isGraphInput,
  type Node,
  type Program,
} from "../../compiler/index.ts";
import { interpretKernel, verifyKernel } from "../../compiler/kernel/index.ts";

/** A GPU with the fewest bindings, and software adapters without and with subgroups: the families of schedules. */
export const adapters: Readonly<Record<string, AdapterFacts>> = {
  gpu: baselineFacts,
  software: { ...baselineFacts, software: true, maxBindings: 12 },
  swiftshader: {
    ...baselineFacts,
    software: true,
    maxBindings: 12,
    features: new Set(["subgroups"]),
    subgroupSizes: { min: 4, max: 4 },
  },
};

/**
 * Kernels without those that add up the parts of split products: a product here has no batches, unless it was split.
 */
export function withoutSplits({ kernels }: Program): number {
  const isOne = (e: Program["kernels"][number]["kernel"]["grid"][number]) => e.kind === "const" && e.value === 1;
  const split = kernels.filter(({ kind, kernel }) => kind === "contraction" && !isOne(kernel.grid[2]));
  return kernels.length - split.length;
}

const elements = (node: Node): number => node.type.axes.reduce((n, a) => n * Number(a.size), 1);

export const compileFor = (graph: Graph, facts: AdapterFacts): Program => compileKernels(graph, facts);

/**
 * Outputs of a program by name, each kernel verified and interpreted in turn. Results begin as NaN, so that gaps show.
 */
export function interpretProgram(program: Program, inputs: ReadonlyMap<string, Float64Array>): Map<string, number[]> {
  const memory = new Map<Node, Float64Array>();
  const of = (root: Node): Float64Array => {
    let values = memory.get(root);
    if (!values) memory.set(root, (values = initial(root, inputs)));
    return values;
  };
  for (const { kernel, bindings } of program.kernels) {
    verifyKernel(kernel);
    const buffers = bindings.map(
      (b, i) => [kernel.buffers[i]!.name, of(b.root).subarray(b.start, b.start + Number(b.length))] as const,
    );
    interpretKernel(kernel, Object.fromEntries(buffers));
  }
  return new Map(
    program.graph.outputs.map(({ name, node }) => {
      const values = of(program.storage.get(node)?.root ?? node);
      return [name, Array.from({ length: elements(node) }, (_, i) => values[i]!)];
    }),
  );
}

function initial(root: Node, inputs: ReadonlyMap<string, Float64Array>): Float64Array {
  if (isGraphInput(root)) return Float64Array.from(inputs.get(inputName(root))!);
  if (root.op === "constant")
    return Float64Array.from((root.attrs.values as readonly number[] | undefined) ?? [root.attrs.value as number]);
  const data = allocate(root.type.dtype, elements(root));
  return Float64Array.from({ length: data.length }, () => Number.NaN);
}
