/** Fits a model to the position embedding that a checkpoint holds. */
import type { Config } from "../../dsl/index.ts";
import { isVision } from "./internvit.ts";

/** A configuration with the grid that a checkpoint has positions for. */
export interface FittedPositions {
  readonly config: Config;
  /** Patches of a side, as stored and as the model's picture has. */
  readonly stored: number;
  readonly used: number;
}

/**
 * The configuration that interpolates a checkpoint's positions to the model's picture; undefined where there is nothing to
 * change, or where what is stored is no grid of the model's width. `shapeOf` gives a stored tensor's shape by name, in our
 * layout or the published one.
 */
export function fitPositions(
  config: Config,
  shapeOf: (tensor: string) => readonly number[] | undefined,
): FittedPositions | undefined {
  const [vision, scope] = isVision(config) ? [config, ""] : [config.vision, "vision_model."];
  if (!isVision(vision)) return undefined;
  const [tokens = 0, width] = shapeOf(`${scope}embeddings.position_embedding`)?.slice(-2) ?? [];
  const stored = Math.sqrt(tokens - 1);
  const expected = (vision.positions === 0 ? vision.image : vision.positions) / vision.patch;
  if (width !== vision.width || !Number.isInteger(stored) || stored < 1 || stored === expected) return undefined;
  const fitted = { ...vision, positions: stored * vision.patch };
  return { config: scope === "" ? fitted : { ...config, vision: fitted }, stored, used: vision.image / vision.patch };
}
