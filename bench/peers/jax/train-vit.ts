/** jax-js training step: loss, gradients and AdamW in one jitted function. */
import { type Array as JaxArray, jit, numpy as np, tree, valueAndGrad } from "@jax-js/jax";
import { trainingStep } from "../../../dsl/index.ts";
import { drawBatch, drawWeights, plainWeights } from "../../model/values.ts";
import { adamwSettings, type VitConfig, vitStage } from "../../model/vit.ts";
import type { Subject } from "../../subject.ts";
import { arrays, read, startJax } from "./jax.ts";
import { loss, type Weights } from "./vit.ts";

type State = { weights: Weights; mean: Weights; square: Weights; step: JaxArray };

export async function trainVit(c: VitConfig): Promise<Subject> {
  const gpu = await startJax();
  const initial = plainWeights(drawWeights(trainingStep(vitStage(c)).trained));
  const { pixels, label } = drawBatch(c);
  return {
    gpu,
    build: async () => {
      const zeros = () => Object.fromEntries([...initial].map(([name, { shape }]) => [name, np.zeros([...shape])]));
      let state: State = { weights: arrays(initial), mean: zeros(), square: zeros(), step: np.zeros([]) };
      const step = jit((now: State, x: JaxArray, y: JaxArray) => trainingStepOf(c, now, x, y));
      return async () => {
        const next = step(state, np.array(pixels.data, { shape: [...pixels.shape] }), np.array(label));
        state = next.state;
        return read(gpu, next.loss);
      };
    },
  };
}

function trainingStepOf(c: VitConfig, now: State, pixels: JaxArray, label: JaxArray): { loss: JaxArray; state: State } {
  const lossOf = valueAndGrad((w: Weights, x: JaxArray, y: JaxArray) => loss(w, x, y, c));
  const [value, gradients] = lossOf(tree.ref(now.weights), pixels, label);
  return { loss: value, state: adamw(now, gradients) };
}

/** Loshchilov, Hutter 2019, algorithm 2, parameter by parameter as in optax. */
function adamw(now: State, gradients: Weights): State {
  const { rate, beta1, beta2, epsilon, weightDecay } = adamwSettings;
  const step = now.step.add(1);
  const corrections = [beta1, beta2].map((beta) =>
    np
      .exp(step.ref.mul(Math.log(beta)))
      .neg()
      .add(1),
  ); // 1 − βᵗ
  const [correction1, correction2] = corrections as [JaxArray, JaxArray];
  const next: State = { weights: {}, mean: {}, square: {}, step };
  for (const [name, gradient] of Object.entries(gradients)) {
    const weight = now.weights[name]!;
    const mean = now.mean[name]!.mul(beta1).add(gradient.ref.mul(1 - beta1));
    const square = now.square[name]!.mul(beta2).add(np.square(gradient).mul(1 - beta2));
    const root = np.sqrt(square.ref.div(correction2.ref)).add(epsilon);
    const direction = mean.ref.div(correction1.ref).div(root);
    const decayed = weight.shape.length > 1 ? direction.add(weight.ref.mul(weightDecay)) : direction;
    next.weights[name] = weight.sub(decayed.mul(rate));
    next.mean[name] = mean;
    next.square[name] = square;
  }
  correction1.dispose();
  correction2.dispose();
  return next;
}
