/** Adapts a model's configuration to a checkpoint's position embedding. */
import type { Config, SizedByTensors } from "../../dsl/index.ts";
import { isVision } from "./internvit.ts";

/**
 * The configuration that interpolates a checkpoint's positions to the model's resolution; undefined if nothing changes,
 * or if the stored tensor is not a grid of the model's width. `shapeOf` gives a stored tensor's shape by name, in our
 * layout or the published one.
 */
export function fitPositions<C extends Config>(
  config: C,
  shapeOf: (tensor: string) => readonly number[] | undefined,
): SizedByTensors<C> | undefined {
  const [vision, scope] = isVision(config) ? [config, ""] : [config.vision, "vision_model."];
  if (!isVision(vision)) return undefined;
  const [tokens = 0, width] = shapeOf(`${scope}embeddings.position_embedding`)?.slice(-2) ?? [];
  const stored = Math.sqrt(tokens - 1);
  const expected = (vision.positions === 0 ? vision.image : vision.positions) / vision.patch;
  if (width !== vision.width || !Number.isInteger(stored) || stored < 1 || stored === expected) return undefined;
  const fitted = { ...vision, positions: stored * vision.patch };
  const used = vision.image / vision.patch;
  return {
    config: (scope === "" ? fitted : { ...config, vision: fitted }) as C,
    ...(stored !== used && {
      note: `positions: interpolated from the ${stored} × ${stored} patches of the weights to ${used} × ${used}`,
    }),
  };
}
