/** Images as Flamingo's features: the patches of CLIP's vision transformer after its final norm, as in OpenFlamingo. */
import {
  type AnyTensor,
  axis,
  axisOf,
  imageAxes,
  input,
  layerNorm,
  longer,
  type Params,
  rename,
  slice,
  split,
  symbol,
  UsageError,
} from "../../dsl/index.ts";
import { type ClipVisionConfig, gridOf, type Picture, visionStates } from "../clip/vision.ts";

/** A tower, and the features that the resampler takes. */
export interface SeenPictures {
  readonly vision: ClipVisionConfig;
  readonly visionWidth: number;
  readonly places: number;
  readonly frames: number;
}

/**
 * Normalized images of all texts, one text after the other, their number symbolic: [batch = media, channel, row,
 * column]
 */
const pixelsInput = ({ vision }: SeenPictures): Picture => {
  const { channel, row, column } = imageAxes(vision.image);
  return input("pixels", "f32", [axis("batch", symbol("media")), channel, row, column]);
};

/**
 * Each image as one frame: [media, frame, place, embed]. Throws UsageError if there is no tower, or if its features do
 * not fit the resampler.
 */
export function towerFeatures(p: Params, c: SeenPictures): AnyTensor {
  const { vision, visionWidth, places, frames } = c;
  if (vision.depth === 0)
    throw new UsageError(
      "vision.depth is 0, so the model takes image features: to take images, set a vision tower, such as the configuration clip (--set clip)",
    );
  const patches = gridOf(vision) ** 2;
  const differs = [
    visionWidth !== vision.width && `visionWidth is ${visionWidth}, but the vision tower has ${vision.width}`,
    places !== patches && `places is ${places}, but an image has ${patches} patches`,
    frames !== 1 && `frames is ${frames}, but an image has 1`,
  ].filter((why) => why !== false);
  if (differs.length > 0) throw new UsageError(differs.join("; "));
  const states = visionStates(p, pixelsInput(c), vision).at(-1)!;
  const [batch, token] = [axisOf(states, "batch"), axisOf(states, "token")];
  const normed = layerNorm(p.scope("norm_post"), states, [axisOf(states, "embed")], vision.epsilon);
  const cut = slice(normed, token, 1, longer(token, -1).size) as AnyTensor;
  const media = rename(cut, batch, axis("media", batch.size)) as AnyTensor;
  return split(media, axisOf(media, "token"), [axis("frame", 1), axis("place", patches)]);
}
