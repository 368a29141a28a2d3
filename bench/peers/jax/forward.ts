/** jax-js forward passes: a jitted transformer block, a jitted matrix product. */
import { type Array as JaxArray, jit, numpy as np, tree } from "@jax-js/jax";
import { trace } from "../../../dsl/index.ts";
import { drawWeights, normals, plainWeights } from "../../model/values.ts";
import { type BlockConfig, blockModel } from "../../model/vit.ts";
import type { Subject } from "../../subject.ts";
import { arrays, read, startJax } from "./jax.ts";
import { block as vitBlock, type Weights } from "./vit.ts";

export async function block(c: BlockConfig): Promise<Subject> {
  const gpu = await startJax();
  const parameters = trace(blockModel(c)).inputs.filter((n) => n.op === "parameter");
  const initial = plainWeights(drawWeights(parameters));
  const shape = [c.batch, c.tokens, c.width];
  const x = normals("x", c.batch * c.tokens * c.width);
  return {
    gpu,
    build: async () => {
      const weights = arrays(initial);
      const forward = jit((w: Weights, input: JaxArray) => vitBlock(w, "", input, c));
      return () => read(gpu, forward(tree.ref(weights), np.array(x, { shape })));
    },
  };
}

export async function matmul(size: number): Promise<Subject> {
  const gpu = await startJax();
  const [a, b] = [normals("a", size * size), normals("b", size * size)];
  const square = (data: Float32Array) => np.array(data, { shape: [size, size] });
  return {
    gpu,
    build: async () => {
      const multiply = jit((x: JaxArray, y: JaxArray) => np.matmul(x, y));
      return () => read(gpu, multiply(square(a), square(b)));
    },
  };
}
