/** Files that a person opens: weights of the model, or an ONNX file with its own graph. */
import { type HostTensor, load, type Model, trace } from "../../api/browser.ts";
import { importOnnx } from "../../backends/onnx/index.ts";
import { type Graph, inputName, isParameter, UsageError } from "../../compiler/index.ts";
import type { Emoji } from "./emoji.ts";
import { requireTokens, shapeOf, towerGraphs } from "./towers.ts";
import type { Weights } from "./training.ts";

/** A graph with its weights. */
export interface Weighted {
  readonly graph: Graph;
  readonly weights: Weights;
}

/**
 * Reads a file: ONNX, judged by its name, or else safetensors for the model's own graph. Throws UsageError, FileError
 * or UnsupportedError when it is damaged, cannot be read, or cannot be used for search.
 */
export const readOpened = async (file: File, model: Model, emoji: Pick<Emoji, "vocabulary">): Promise<Weighted> =>
  file.name.toLowerCase().endsWith(".onnx")
    ? await readOnnx(file, emoji)
    : { graph: trace(model), weights: await readWeights(file, model) };

/**
 * The graph of an ONNX file with its weights. It may be a different model, but must take images and texts as the page's
 * does.
 */
async function readOnnx(file: File, emoji: Pick<Emoji, "vocabulary">): Promise<Weighted> {
  const { graph, parameters } = await importOnnx(new Uint8Array(await file.arrayBuffer()), { name: file.name });
  shapeOf(graph);
  towerGraphs(graph);
  requireTokens(graph, emoji);
  const weights = new Map<string, HostTensor>();
  for (const [name, { read }] of parameters) weights.set(name, await read());
  return { graph, weights };
}

/**
 * The parameters of a model, from a safetensors file with their names. Throws UsageError naming those that are missing
 * or of another shape.
 */
async function readWeights(file: Blob, model: Model): Promise<Weights> {
  const opened = await load(file);
  try {
    const weights = new Map<string, HostTensor>();
    const wrong: string[] = [];
    for (const node of trace(model).inputs.filter(isParameter)) {
      const [name, shape] = [inputName(node), node.type.axes.map((a) => Number(a.size))];
      const stored = opened.tensors.get(name);
      if (!stored) wrong.push(`"${name}" is missing`);
      else if (String(stored.shape) !== String(shape))
        wrong.push(`"${name}" has shape [${stored.shape}], but the model needs [${shape}]`);
      else weights.set(name, { ...(await opened.read(name)), axes: node.type.axes as HostTensor["axes"] });
    }
    if (wrong.length > 0)
      throw new UsageError(`the file does not match ${model.name}:\n  ${wrong.slice(0, 6).join("\n  ")}`);
    return weights;
  } finally {
    await opened.dispose();
  }
}
