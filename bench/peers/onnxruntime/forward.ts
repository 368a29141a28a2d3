/**
 * Forward passes with onnxruntime-node's WebGPU provider; it has its own Dawn and finds Vulkan through the environment.
 */
import { InferenceSession, Tensor } from "onnxruntime-node";
import { trace } from "../../../dsl/index.ts";
import { drawWeights, normals, plainWeights } from "../../model/values.ts";
import { type BlockConfig, blockModel as declaredBlock } from "../../model/vit.ts";
import type { Subject } from "../../subject.ts";
import { blockModel, matmulModel } from "./model.ts";

export async function block(c: BlockConfig): Promise<Subject> {
  const parameters = trace(declaredBlock(c)).inputs.filter((n) => n.op === "parameter");
  const weights = plainWeights(drawWeights(parameters));
  const shape = [c.batch, c.tokens, c.width];
  return forward(() => blockModel(c, weights), { x: shape });
}

export const matmul = (size: number): Promise<Subject> =>
  forward(() => matmulModel(size), { a: [size, size], b: [size, size] });

async function forward(model: () => Uint8Array, inputs: Readonly<Record<string, number[]>>): Promise<Subject> {
  const bytes = model();
  const values = Object.entries(inputs).map(([name, shape]) => {
    const count = shape.reduce((n, size) => n * size, 1);
    return [name, new Tensor("float32", normals(name, count), shape)] as const;
  });
  const feeds = Object.fromEntries(values);
  return {
    build: async () => {
      const session = await InferenceSession.create(bytes, {
        executionProviders: ["webgpu"],
        // Makes unsupported nodes an error instead of silently falling back to the CPU.
        extra: { session: { disable_cpu_ep_fallback: "1" } },
      });
      return async () => (await session.run(feeds)).y!.data as Float32Array;
    },
  };
}
