/**
 * A backend that compiles kernels for an adapter with f16, with f16 tensors in memory, and runs them in the kernel
 * interpreter.
 */
import type { Backend, Executable } from "../../backends/backend.ts";
import { referenceBackend } from "../../backends/reference/index.ts";
import {
  baselineFacts,
  bindSizes,
  compileKernels,
  hostTensor,
  inputName,
  runProgram,
  type SizedAxis,
} from "../../compiler/index.ts";

export function halfKernels(): Backend {
  const facts = { ...baselineFacts, maxBindings: 10, software: true, features: new Set(["f16"] as const) };
  const backend = referenceBackend();
  // Runs may be submitted before earlier ones have ended; they execute in order.
  let earlier: Promise<unknown> = Promise.resolve();
  const compile: Backend["compile"] = async (graph, { sizes = {}, precision } = {}) => {
    const bound = bindSizes(graph, sizes);
    const program = compileKernels(bound, facts, precision ? { precision } : {});
    const run: Executable["run"] = async (feeds, store) => {
      const kept = bound.inputs.filter((n) => !(inputName(n) in feeds));
      const held = await Promise.all(kept.map(async (n) => [inputName(n), await store.read(inputName(n))] as const));
      const given = [...Object.entries(feeds), ...held].map(([name, t]) => [name, t.data] as const);
      const ran = runProgram(program, new Map(given));
      for (const [name, { dtype, axes }] of held)
        await store.write(name, hostTensor(dtype, axes, Array.from(ran.inputs.get(name)!)));
      const told = bound.outputs.filter((o) => !(o.name in bound.updates));
      return Object.fromEntries(
        told.map(({ name, node }) => [
          name,
          hostTensor(node.type.dtype, node.type.axes as SizedAxis[], Array.from(ran.outputs.get(name)!)),
        ]),
      );
    };
    return {
      graph,
      dispose: () => {},
      run: (feeds, store) => {
        const ran = earlier.then(() => run(feeds, store));
        earlier = ran.catch(() => {});
        return ran;
      },
    };
  };
  return { ...backend, compile };
}
