/**
 * Decoding with Flamingo: the prefill reads text with interleaved images, the step continues from the KV cache. No
 * image comes after the prefill, so a step attends to the last image's latents only. Alayrac et al. 2022,
 * arXiv:2204.14198, section 2.3 and appendix A.2.
 */
import {
  type AnyTensor,
  axis,
  type CrossAxes,
  type CrossMemory,
  crossInputs,
  crossOutputs,
  decoderInputs,
  type LayerMemory,
  lastOf,
  newTokens,
  type Params,
  presentOutputs,
} from "../../dsl/index.ts";
import { type Gpt2Axes, gpt2Axes, gpt2Block, gpt2Embedded, gpt2Last, wholeText } from "../gpt2/index.ts";
import {
  type FlamingoConfig,
  flamingoScores,
  gatedBefore,
  gatedCount,
  gatedLayer,
  latentMemory,
  resampled,
  shownTo,
} from "./flamingo.ts";
import { towerFeatures } from "./pictures.ts";

type Outputs = Readonly<Record<string, AnyTensor>>;

/** The axes of the last image's latents as gated layers see them. */
const latentAxes = ({ batch }: Gpt2Axes, { gated, latents }: FlamingoConfig): CrossAxes => ({
  batch,
  source: axis("source_token", latents),
  heads: axis("heads", gated.heads),
  headDim: axis("head_dim", gated.headDim),
});

/**
 * Prefill: `pixels` [batch = media, ...] and `input_ids`, all texts of one length, with `imageToken` as image
 * placeholder. `present.N.encoder.key` and `.value` are those of the last image's latents, for gated layer N.
 */
export function flamingoBeginning(p: Params, c: FlamingoConfig): Outputs {
  const a = gpt2Axes(c.text, newTokens());
  const { ids } = decoderInputs(a, c.text.depth, "beginning");
  const media = resampled(p.scope("perceiver"), towerFeatures(p.scope("vision"), c), c);
  const { latents, visible, last } = shownTo(ids, media, c);
  const [lm, context] = [p.scope("lm"), wholeText(a)];
  const cross: CrossMemory[] = [];
  const memory: LayerMemory[] = [];
  let x = gpt2Embedded(lm, ids, a, c.text, context);
  for (let i = 0; i < c.text.depth; i++) {
    const gated = gatedBefore(i, c);
    if (gated !== undefined) {
      const layer = p.scope(`gated.${gated}`);
      x = gatedLayer(layer, x, latentMemory(layer.scope("attn"), latents, c), visible, c);
      cross.push(latentMemory(layer.shared().scope("attn"), last, c));
    }
    const made = gpt2Block(lm.scope(`h.${i}`), x, a, c.text, context);
    memory.push(made.memory);
    x = made.x;
  }
  const scored = gpt2Last(lm, lastOf<"batch" | "embed">(x), a, c.text);
  const present = { ...presentOutputs(memory, a), ...crossOutputs(cross, latentAxes(a, c)) };
  return { logits: flamingoScores(p, scored, c), ...present };
}

/** The step: more tokens after the cached ones, none of them an image. */
export function flamingoStep(p: Params, c: FlamingoConfig): Outputs {
  const a = gpt2Axes(c.text, newTokens());
  const { ids, context, past } = decoderInputs(a, c.text.depth, "step");
  const cross = crossInputs(latentAxes(a, c), gatedCount(c)).memory;
  const lm = p.scope("lm");
  const memory: LayerMemory[] = [];
  let x = gpt2Embedded(lm, ids, a, c.text, context);
  for (let i = 0; i < c.text.depth; i++) {
    const gated = gatedBefore(i, c);
    if (gated !== undefined) x = gatedLayer(p.scope(`gated.${gated}`), x, cross[gated]!, undefined, c);
    const made = gpt2Block(lm.scope(`h.${i}`), x, a, c.text, context, past[i]);
    memory.push(made.memory);
    x = made.x;
  }
  return { logits: flamingoScores(p, gpt2Last(lm, x, a, c.text), c), ...presentOutputs(memory, a) };
}
