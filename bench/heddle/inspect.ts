/** heddle's compiler alone: `heddle inspect` of a bundled model, summary only. */
import type { Subject } from "../subject.ts";
import { printed } from "./command.ts";

/** One run is one command; its output is the parameter count and the kernel count. */
export async function inspect(model: string): Promise<Subject> {
  return {
    build: async () => async () => {
      const text = await printed(["inspect", model, "--json"]);
      const { parameters, kernels } = JSON.parse(text) as { parameters: number; kernels: { count: number } };
      return Float64Array.of(parameters, kernels.count);
    },
  };
}
