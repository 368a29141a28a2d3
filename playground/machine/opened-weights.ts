/** Weights from a file that a person opens. */
import { type HostTensor, load, type Model, trace } from "../../api/browser.ts";
import { inputName, isParameter, UsageError } from "../../compiler/index.ts";
import type { Weights } from "./training.ts";

/** The parameters of a model, from a safetensors file with their names. Throws UsageError naming those that are missing or of another shape. */
export async function readWeights(file: Blob, model: Model): Promise<Weights> {
  const opened = await load(file);
  try {
    const weights = new Map<string, HostTensor>();
    const wrong: string[] = [];
    for (const node of trace(model).inputs.filter(isParameter)) {
      const [name, shape] = [inputName(node), node.type.axes.map((a) => Number(a.size))];
      const stored = opened.tensors.get(name);
      if (!stored) wrong.push(`"${name}" is missing`);
      else if (String(stored.shape) !== String(shape))
        wrong.push(`"${name}" is [${stored.shape}] there and [${shape}] here`);
      else weights.set(name, { ...(await opened.read(name)), axes: node.type.axes as HostTensor["axes"] });
    }
    if (wrong.length > 0)
      throw new UsageError(`the file does not fit ${model.name}:\n  ${wrong.slice(0, 6).join("\n  ")}`);
    return weights;
  } finally {
    await opened.dispose();
  }
}
