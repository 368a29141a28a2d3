/** Exports the trained towers: both as one ONNX file, verified in onnxruntime against heddle. */
import { join } from "node:path";
import { writeOnnxFile } from "../../cli/index.ts";
import type { Graph } from "../../compiler/index.ts";
import { learnedTokenizerConfig } from "../../data/index.ts";
import type { Config } from "../../dsl/index.ts";
import { writePublishedConfig } from "../../models/index.ts";
import { type TrainedRun, writeFileAtomically } from "../../runtime/index.ts";

export async function exportTowers(run: TrainedRun, graph: Graph) {
  const path = join(run.folder, "towers.onnx");
  const { bytes, opset, verified } = await writeOnnxFile(path, graph, async (name) => run.weights.get(name)!, {
    verify: true,
  });
  run.note(
    `ONNX: ${path}, verified against the ${verified!.against}: largest difference ${verified!.maxAbsDiff.toExponential(1)}`,
  );
  return { bytes, opset, maxAbsDiff: verified!.maxAbsDiff, against: verified!.against };
}

/** The tokenizer beside the weights, where `heddle run` and other runtimes look for it. */
export async function writeTokenizer(folder: string, tokenizer: object): Promise<void> {
  await writeFileAtomically(join(folder, "tokenizer.json"), `${JSON.stringify(tokenizer)}\n`);
  await writeFileAtomically(
    join(folder, "tokenizer_config.json"),
    `${JSON.stringify(learnedTokenizerConfig, null, 2)}\n`,
  );
}

/** The config.json that makes the run's folder a model: `heddle run runs/...` then needs no other. */
export const writeConfig = (folder: string, config: Config): Promise<void> =>
  writeFileAtomically(join(folder, "config.json"), `${JSON.stringify(writePublishedConfig(config), null, 2)}\n`);
