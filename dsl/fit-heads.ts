/** Heads of other classes than those of the weights that a stage starts from. */
import type { FitTensor } from "./checkpoints.ts";

/**
 * When the weights that a stage starts from have another number of classes, the head starts as zeros, as when
 * fine-tuning ViT: Dosovitskiy et al. 2021, section 3.2. `heads` are the paths of the heads' scopes, linear or
 * convolutions; `others` fits all other parameters.
 */
export const fitHeads =
  (heads: readonly string[], others: FitTensor = () => undefined): FitTensor =>
  (parameter, stored, expected, config) => {
    const scope = parameter.replace(/\.(weight|bias)$/, "");
    if (!heads.includes(scope)) return others(parameter, stored, expected, config);
    const [had, ...from] = stored;
    const [has, ...to] = expected;
    if (product(from) !== product(to)) return undefined; // a convolution's axes may be stored in another order
    return {
      note: `initialized with zeros: the weights have ${had} classes, not ${has}`,
      apply: () => new Float32Array(product(expected)),
    };
  };

const product = (sizes: readonly number[]): number => sizes.reduce((n, size) => n * size, 1);
