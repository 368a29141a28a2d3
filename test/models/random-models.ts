/** Models of the family at configurations that nobody chose, with their gradients and something to feed them. */
import {
  type Distribution,
  dimValue,
  type Graph,
  type HostTensor,
  hostTensor,
  inputName,
  makeGraph,
  type Node,
} from "../../compiler/index.ts";
import {
  type AnyTensor,
  type Axis,
  add,
  mul,
  type Params,
  rootParams,
  type StateUpdate,
  sum,
} from "../../dsl/index.ts";
import {
  type ChatConfig,
  type ChatQueriesConfig,
  chat15,
  conversation,
  decodeStep,
  type GenerativeConfig,
  type InternvlChatConfig,
  idsInput,
  imageEmbedding,
  imageEmbeddingG,
  imageToken,
  internvit,
  internvit6b,
  languageHead,
  linearProbe,
  llama,
  matching,
  patchCount,
  pixelsInput,
  probeLoss,
  type QllamaConfig,
  qllama,
  retrievalLoss,
  type SegmentationConfig,
  segmentationLoss,
  segmentationUperNet,
  stageOneLoss,
  stageThreeLoss,
  stageTwoLoss,
  type TextConfig,
  textAxes,
  textEmbedding,
  tiledConversation,
  tiledLoss,
  tiledScores,
  tilesInput,
  type VisionConfig,
  visionTokens,
} from "../../models/index.ts";
import { randomStream } from "../../runtime/index.ts";
import { seeded } from "../support/samples.ts";
import { anyWeights, withGradients } from "./support.ts";

/** Takes one of several at random. */
export type Pick = <T>(...from: readonly T[]) => T;

export interface RandomModel {
  readonly config: object;
  /** With the gradients of the output "loss". */
  readonly graph: Graph;
  readonly feeds: Readonly<Record<string, HostTensor>>;
  /** Of parameters, and of the statistics that a training step keeps. */
  readonly weights: ReadonlyMap<string, HostTensor>;
}

function vision(pick: Pick, least: { readonly depth?: number; readonly grid?: number } = {}): VisionConfig {
  const [heads, patch] = [pick(1, 2, 3, 5, 7), pick(1, 2, 3, 5, 14)];
  const grid = Math.max(least.grid ?? 1, pick(1, 2, 3, 4));
  return {
    ...internvit6b,
    width: heads * pick(1, 3, 4, 5, 6),
    depth: Math.max(least.depth ?? 1, pick(1, 2, 3)),
    heads,
    mlp: pick(1, 7, 13, 30, 37),
    image: grid * patch,
    patch,
    positions: pick(0, 1, 2, 3, 5) * patch,
    dropPath: pick(0, 0.3),
    dropPathRule: pick("uniform", "linear"),
    layerScale: pick(0.1, 1),
  };
}

/** Queries in groups, heads of their own width, tied scores, biases anywhere. */
function textVariant(pick: Pick): TextConfig {
  const plain = text(pick);
  const keyHeads = pick(1, 2, 3);
  return {
    ...plain,
    heads: keyHeads * pick(1, 2, 3),
    keyHeads,
    headDim: pick(2, 4, 6),
    tied: pick(true, false),
    mlpBias: pick(true, false),
  };
}

function text(pick: Pick): TextConfig {
  const heads = pick(1, 2, 3, 5, 7);
  return {
    width: heads * pick(2, 4, 6, 10),
    depth: pick(1, 2, 3),
    heads,
    mlp: pick(1, 9, 22, 35),
    vocab: pick(11, 37, 101),
    context: pick(0, 2, 5, 6, 9),
    epsilon: pick(1e-5, 1e-6),
    attentionBias: pick(true, false),
    rotaryBase: pick(500, 10000),
  };
}

const asked = (pick: Pick): QllamaConfig => ({ ...text(pick), queries: pick(1, 2, 5), crossEvery: pick(1, 2, 3) });

const generative = (pick: Pick): GenerativeConfig => {
  const [image, words] = [vision(pick), asked(pick)];
  return { vision: image, text: words, embed: pick(3, 5, 6, 11), poolingHeads: 1 };
};

const chatOf = (pick: Pick): ChatConfig => ({ vision: vision(pick), text: text(pick), features: pick(-1, -2) });

interface Built {
  readonly loss: Node;
  readonly outputs?: Readonly<Record<string, Node>>;
  readonly updates?: readonly StateUpdate[];
}

/** Half the sum of the squares of all outputs: a loss whose gradient each element sees. */
function energyOf(outputs: Readonly<Record<string, AnyTensor>>): Built {
  const each = Object.values(outputs).map((x): AnyTensor => mul(sum(mul(x, x), x.type.axes as Axis[]), 0.5));
  return { outputs, loss: each.reduce((a, b) => add(a, b)) };
}

interface Family<C> {
  readonly config: (pick: Pick) => C;
  readonly build: (p: Params, c: C) => Built;
}

const family = <C extends object>(config: (pick: Pick) => C, build: (p: Params, c: C) => Built): Family<object> =>
  ({ config, build }) as unknown as Family<object>;

const passOf = (pass: "matching" | "contrastive" | "generative") =>
  family(generative, (p, c) => {
    const ids = idsInput(c.text);
    const { queries, text: words } = qllama(p, visionTokens(p, pixelsInput(c.vision), c), ids, c.text, pass);
    return energyOf({ queries, words, scores: languageHead(p.scope("qllama"), words, textAxes(c.text), c.text) });
  });

const segmentation = (channels: number) =>
  family(
    (pick): SegmentationConfig => ({
      ...segmentationUperNet,
      vision: vision(pick, channels === 0 ? {} : { depth: 2, grid: 2 }),
      classes: pick(2, 5),
      blocks: channels === 0 ? [pick(0, 1)] : [0, 1, pick(1, 2), 2],
      channels,
      auxiliary: pick(0, 1, 2, 3),
    }),
    (p, c) => {
      const { loss, metrics, updates } = segmentationLoss(p, c);
      return { loss, outputs: metrics, updates };
    },
  );

/** What each model is at a random configuration, in training: drop path and dropped patches are drawn. */
export const families: Readonly<Record<string, Family<object>>> = {
  internvit: family(vision, (p, c) => {
    const states = internvit(p, pixelsInput(c), c);
    return energyOf(Object.fromEntries(states.map((x, i) => [`state${i}`, x])));
  }),
  llama: family(text, (p, c) => {
    const last = llama(p.scope("model"), idsInput(c), c);
    return energyOf({ last, scores: languageHead(p, last, textAxes(c), c) });
  }),
  "decoder step": family(text, (p, c) => energyOf(decodeStep(p, c))),
  "grouped decoder step": family(textVariant, (p, c) => energyOf(decodeStep(p, c))),
  "chat of tiles": family(
    (pick): InternvlChatConfig => {
      const [seen, shrink] = [vision(pick), pick(1, 2)];
      return {
        ...chat15,
        vision: { ...seen, image: shrink * pick(1, 2) * seen.patch },
        text: textVariant(pick),
        features: pick(-1, -2),
        shrink,
        shuffle: pick("v1", "v2"),
        imageToken,
      };
    },
    (p, c) => {
      const { last } = tiledConversation(p, tilesInput(c), idsInput(c.text), c);
      return { loss: tiledLoss(p, c).loss, outputs: { scores: tiledScores(p, last, textAxes(c.text), c) } };
    },
  ),
  "qllama matching": passOf("matching"),
  "qllama contrastive": passOf("contrastive"),
  "qllama generative": passOf("generative"),
  "internvl-c": family(generative, (p, c) => {
    const image = imageEmbedding(p, pixelsInput(c.vision), c);
    return { loss: stageOneLoss(p, c, { keep: 0.5 }).loss, outputs: { image } };
  }),
  "internvl-g": family(generative, (p, c) => {
    const pixels = pixelsInput(c.vision);
    const [image, words] = [imageEmbeddingG(p, pixels, c), textEmbedding(p, idsInput(c.text), c)];
    const match = matching(p, visionTokens(p, pixels, c), idsInput(c.text, "matching_ids"), c);
    return { ...energyOf({ match }), outputs: { image, words, match } };
  }),
  "stage 2": family(generative, (p, c) => {
    const { loss, metrics } = stageTwoLoss(p, c, { labelSmoothing: 0.1 });
    return { loss, outputs: metrics };
  }),
  retrieval: family(generative, (p, c) => {
    const { loss, metrics } = retrievalLoss(p, c);
    return { loss, outputs: metrics };
  }),
  "chat of patches": family(chatOf, (p, c) => {
    const { last } = conversation(p, pixelsInput(c.vision), idsInput(c.text), c);
    return { loss: stageThreeLoss(p, c).loss, outputs: { scores: languageHead(p, last, textAxes(c.text), c.text) } };
  }),
  "chat of queries": family(
    (pick): ChatQueriesConfig => ({ ...chatOf(pick), qllama: asked(pick) }),
    (p, c) => stageThreeLoss(p, c),
  ),
  probe: family(
    (pick) => {
      const own = vision(pick);
      const features = pick("concat", "pooling");
      return { ...linearProbe, vision: own, classes: pick(2, 7), features, embed: 5, poolingHeads: own.heads };
    },
    (p, c) => probeLoss(p, c),
  ),
  "linear segmentation": segmentation(0),
  upernet: segmentation(3),
};

/** Named, so that nobody has to guess what a failing test was about. */
export function randomModel(name: string, seed: number): RandomModel {
  const next = seeded(seed);
  const pick: Pick = (...from) => from[Math.floor(next() * from.length)]!;
  const { config: drawn, build } = families[name]!;
  const config = withPoolingHeads(drawn(pick), pick);
  const { loss, outputs = {}, updates = [] } = build(rootParams({ training: true }).shared(), config);
  const parts = [...Object.entries({ loss, ...outputs }), ...updates.map((u) => [`after/${u.name}`, u.next] as const)];
  const graph = withGradients(
    makeGraph(
      name,
      parts.map(([n, node]) => ({ name: n, node })),
    ),
  );
  const sizes = { batch: pick(1, 2, 3, 5), token: pick(2, 4, 7), tokens: pick(1, 3), past: pick(1, 2, 6), tiles: 2 };
  const fed = Object.fromEntries(
    graph.inputs.filter((n) => n.op !== "parameter").map((n) => [inputName(n), feed(n, sizes, config, seed)]),
  );
  const kept = new Set(updates.map((u) => u.name));
  const statistics = Object.entries(fed).filter(([n]) => kept.has(n));
  return {
    config,
    graph,
    feeds: Object.fromEntries(Object.entries(fed).filter(([n]) => !kept.has(n))),
    weights: new Map([...anyWeights(graph, seed), ...statistics]),
  };
}

/** Pooling over tokens of InternViT and over queries needs heads that share both widths. */
function withPoolingHeads(config: object, pick: Pick): object {
  if (!("embed" in config) || !("text" in config)) return config;
  const { vision: image, text: words } = config as GenerativeConfig;
  const fits = [1, 2, 3, 5, 7].filter((n) => image.width % n === 0 && words.width % n === 0);
  return { ...config, poolingHeads: pick(...fits) };
}

/** Draws of a random input as the runtime makes them; integers by what their input's name means. */
function feed(node: Node, sizes: Readonly<Record<string, number>>, config: object, seed: number): HostTensor {
  const name = inputName(node);
  const axes = node.type.axes.map((a) => ({ name: a.name, size: dimValue(a.size, sizes) }));
  const length = axes.reduce((n, a) => n * a.size, 1);
  const stream = randomStream(seed, name);
  if (node.type.dtype === "f32") {
    const usual: Distribution = { kind: "uniform", low: node.attrs.role === "state" ? 0.1 : -1.5, high: 1.5 };
    const dist = node.op === "random" ? (node.attrs.dist as Distribution) : usual;
    return hostTensor("f32", axes, stream.fill(dist, length));
  }
  const width = axes.at(-1)!.size;
  const draw = (i: number, below: number) => stream.integer(i, below);
  const values = integersFor(name, config)(draw, length, width);
  return hostTensor("i32", axes, Int32Array.from(values));
}

type Integers = (draw: (i: number, below: number) => number, length: number, width: number) => number[];

function integersFor(name: string, config: object): Integers {
  const each = (f: (drawn: number) => number, below: number): Integers => {
    return (draw, length) => Array.from({ length }, (_, i) => f(draw(i, below)));
  };
  const c = config as Partial<ChatQueriesConfig> & { readonly vocab?: number; readonly classes?: number };
  const { shrink = 1 } = config as { readonly shrink?: number };
  const vocab = c.text?.vocab ?? c.vocab ?? 0;
  if (name === "matches" || name === "attention_mask") return each((v) => v, 2);
  if (name === "position_ids") return each((v) => v, 40);
  if (name === "image_id") return each((v) => v, 3);
  if (name === "caption_prompt") return each((v) => v + 1, 3);
  if (name === "labels") return each((v) => (v < vocab ? v : -100), 2 * vocab);
  if (name === "label") return each((v) => (v < c.classes! ? v : c.vision!.patch > 2 ? 255 : 0), c.classes! + 1);
  const patches = c.features === undefined ? 0 : patchCount(c.vision!);
  const visual = patches / shrink ** 2 + (c.qllama?.queries ?? 0);
  return (draw, length, width) =>
    Array.from({ length: length / width }, (_, row) => textOf(draw, row, width, vocab, visual)).flat();
}

/** BOS, tokens, EOS, padding at the end; with an image after BOS where it fits, in most rows. */
function textOf(
  draw: (i: number, below: number) => number,
  row: number,
  width: number,
  vocab: number,
  visual: number,
): number[] {
  const long = 1 + draw(1000 + row, width);
  const ids = Array.from({ length: width }, (_, i) => (i < long ? 3 + draw(row * width + i, vocab - 3) : 0));
  [ids[0], ids[long - 1]] = [1, 2];
  if (visual > 0 && visual + 1 < width && draw(2000 + row, 4) > 0) ids.fill(imageToken, 1, 1 + visual);
  return ids;
}
