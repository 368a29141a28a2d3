/**
 * Decoding with Flamingo: the prefill reads text with interleaved images, the step continues from the KV cache. No
 * image comes after the prefill, so a step needs only the last image's latents. Alayrac et al. 2022, arXiv:2204.14198,
 * section 2.3 and appendix A.2.
 */
import {
  type AnyTensor,
  type Axis,
  and,
  axis,
  axisOf,
  broadcast,
  concat,
  constant,
  decoderInputs,
  ge,
  input,
  iota,
  type LayerMemory,
  lastOf,
  longer,
  lt,
  newTokens,
  type Params,
  presentOutputs,
  type Remembered,
  sub,
  type Tensor,
  type TokenContext,
  transpose,
} from "../../dsl/index.ts";
import { type Gpt2Axes, gpt2Axes, gpt2Block, gpt2Embedded, gpt2Last, wholeText } from "../gpt2/index.ts";
import {
  type FlamingoConfig,
  flamingoScores,
  gatedBefore,
  gatedLayer,
  latentMemory,
  resampled,
  shownTo,
} from "./flamingo.ts";
import { towerFeatures } from "./pictures.ts";

type Outputs = Readonly<Record<string, AnyTensor>>;

/** Zeros in place of keys and values, with the same heads. */
function emptyPlaces({ key }: LayerMemory, places: Axis<"key_token">): LayerMemory {
  const [batch, heads, each] = (["batch", "heads", "head_dim"] as const).map((name) => axisOf(key, name));
  const zeros = broadcast(constant(0), [batch!, heads!, places, each!]) as AnyTensor as Remembered;
  return { key: zeros, value: zeros };
}

const followedBy = (first: LayerMemory, then: LayerMemory): LayerMemory => {
  const [one, other] = [axisOf(first.key, "key_token"), axisOf(then.key, "key_token")];
  const all = longer(one, other.size);
  return {
    key: concat([first.key, then.key], all),
    value: concat([first.value, then.value], all),
  };
};

/** The cache name of a gated layer, numbered after the language model's blocks. */
const memoryName = (gated: number, part: "key" | "value", c: FlamingoConfig) => `${c.text.depth + gated}.${part}`;

const presentOf = (
  memory: readonly LayerMemory[],
  gated: readonly LayerMemory[],
  a: Gpt2Axes,
  c: FlamingoConfig,
): Outputs => {
  const lay = (x: Remembered) =>
    transpose(
      x,
      (["batch", "heads", "key_token", "head_dim"] as const).map((n) => axisOf(x, n)),
    );
  const named = gated.flatMap(({ key, value }, i) => [
    [`present.${memoryName(i, "key", c)}`, lay(key)],
    [`present.${memoryName(i, "value", c)}`, lay(value)],
  ]);
  return { ...presentOutputs(memory, a), ...Object.fromEntries(named) };
};

/**
 * Prefill: `pixels` [batch = media, ...] and `input_ids`, all texts of one length, with `imageToken` as image
 * placeholder. The first positions of `present` are the last image's latents, which only gated layers use; the text's
 * follow, which only the language model's blocks use.
 */
export function flamingoBeginning(p: Params, c: FlamingoConfig): Outputs {
  const a = gpt2Axes(c.text, newTokens());
  const { ids } = decoderInputs(a, c.text.depth, "beginning");
  const media = resampled(p.scope("perceiver"), towerFeatures(p.scope("vision"), c), c);
  const { latents, visible, last } = shownTo(ids, media, c);
  const [lm, context] = [p.scope("lm"), wholeText(a)];
  const [before, words] = [axis("key_token", c.latents), axis("key_token", a.token.size)];
  const gatedMemory: LayerMemory[] = [];
  const memory: LayerMemory[] = [];
  let x = gpt2Embedded(lm, ids, a, c.text, context);
  for (let i = 0; i < c.text.depth; i++) {
    const gated = gatedBefore(i, c);
    if (gated !== undefined) {
      const layer = p.scope(`gated.${gated}`);
      x = gatedLayer(layer, x, latentMemory(layer.scope("attn"), latents, c), visible, c);
      const kept = latentMemory(layer.shared().scope("attn"), last, c);
      gatedMemory.push(followedBy(kept, emptyPlaces(kept, words)));
    }
    const made = gpt2Block(lm.scope(`h.${i}`), x, a, c.text, context);
    memory.push(followedBy(emptyPlaces(made.memory, before), made.memory));
    x = made.x;
  }
  const scored = gpt2Last(lm, lastOf<"batch" | "embed">(x), a, c.text);
  return { logits: flamingoScores(p, scored, c), ...presentOf(memory, gatedMemory, a, c) };
}

/** The step: more tokens after the cached ones, none of them an image. */
export function flamingoStep(p: Params, c: FlamingoConfig): Outputs {
  const a = gpt2Axes(c.text, newTokens());
  const { ids, context, past } = decoderInputs(a, c.text.depth, "step");
  const lm = p.scope("lm");
  const place = iota(context.key);
  const words: TokenContext = {
    ...context,
    position: sub(context.position as Tensor<"batch" | "token">, c.latents), // latents have slots but no positions
    visible: and<"token" | "key_token" | "batch", "key_token">(context.visible, ge(place, c.latents)),
  };
  const ofPicture = and<"token" | "key_token" | "batch", "key_token">(context.visible, lt(place, c.latents));
  const gatedMemory: LayerMemory[] = [];
  const memory: LayerMemory[] = [];
  let x = gpt2Embedded(lm, ids, a, c.text, words);
  for (let i = 0; i < c.text.depth; i++) {
    const gated = gatedBefore(i, c);
    if (gated !== undefined) {
      const kept = gatedPast(gated, a, c, past);
      gatedMemory.push(followedBy(kept, emptyPlaces(kept, axis("key_token", a.token.size))));
      x = gatedLayer(p.scope(`gated.${gated}`), x, gatedMemory.at(-1)!, ofPicture, c);
    }
    const made = gpt2Block(lm.scope(`h.${i}`), x, a, c.text, words, past[i]);
    memory.push(made.memory);
    x = made.x;
  }
  return { logits: flamingoScores(p, gpt2Last(lm, x, a, c.text), c), ...presentOf(memory, gatedMemory, a, c) };
}

/** A gated layer's cache in the slots where the language model's blocks keep their past. */
function gatedPast(gated: number, a: Gpt2Axes, c: FlamingoConfig, [first]: readonly LayerMemory[]): LayerMemory {
  const axes = [
    a.batch,
    axis("heads", c.gated.heads),
    axisOf(first!.key, "key_token"),
    axis("head_dim", c.gated.headDim),
  ];
  const read = (part: "key" | "value") =>
    input(`past_key_values.${memoryName(gated, part, c)}`, "f32", axes) as AnyTensor as Remembered;
  return { key: read("key"), value: read("value") };
}
