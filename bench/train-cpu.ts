/**
 * A training step on the CPU, compared with PyTorch's, eager and compiled, on the same cores: `npm run bench --
 * train-cpu --python PYTHON`. Uses the model of `npm start`'s first stage with the same weights and batch; losses are
 * compared first, and rounds alternate.
 */
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Command } from "commander";
import { cpuBackend } from "../backends/onnxruntime/index.ts";
import { type HostTensor, hostTensor, inputName, type SizedAxis } from "../compiler/index.ts";
import { checkpointLayout, constantRate, defineStage, type Model, trace, trainingStep } from "../dsl/index.ts";
import { type ContrastiveConfig, stageOneLoss } from "../models/index.ts";
import { initialValue, permute, tensorsInLayout, tensorToWrite, writeSafetensors } from "../runtime/index.ts";
import { fillStore } from "./heddle/train-vit.ts";
import { median } from "./statistics.ts";

interface Options {
  readonly python: string;
  readonly model: string;
  readonly batch: number;
  readonly rounds: number;
  readonly steps: number;
}

export async function trainCpuBench(argv: readonly string[]): Promise<number> {
  const program = new Command("bench train-cpu")
    .description("A training step on the processor, beside PyTorch's on the same cores.")
    .option("--python <command>", "a Python that has PyTorch and safetensors", "python3")
    .option("--model <file.ts>", "a file whose default is an InternVL-C", "examples/emoji-model.ts")
    .option("--batch <n>", "pictures and texts of a step", Number, 128)
    .option("--rounds <n>", "how often all take turns", Number, 5)
    .option("--steps <n>", "steps of each in a round", Number, 5);
  program.parse([...argv], { from: "user" });
  const options = program.opts<Options>();
  const folder = await mkdtemp(join(tmpdir(), "heddle-train-cpu-"));
  try {
    return await compared(folder, options);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function compared(folder: string, { python, model: file, batch, rounds, steps }: Options): Promise<number> {
  const loaded = (await import(pathToFileURL(resolve(file)).href)) as { readonly default: Model<ContrastiveConfig> };
  const model = loaded.default;
  const c = model.config;
  const stage = defineStage({
    name: "contrastive",
    loss: (p) => stageOneLoss(p, c),
    optimizer: { rate: constantRate(1e-4), weightDecay: 0.1, beta1: 0.9, beta2: 0.98, clip: 1 },
  });
  const step = trainingStep(stage);
  const values = new Map(step.trained.map((n) => [inputName(n), initialValue(n, 1)]));
  const feeds = batchOf(step.trained.length, batch, c.vision.image, c.text.context, c.text.vocab);
  const graph = trace(model);
  const layout = checkpointLayout(graph, model.checkpoints!.layouts[0]!);
  const read = async (name: string) => values.get(name)!;
  async function* pieces(name: string, order: readonly string[]) {
    yield permute(values.get(name)!, order).data;
  }
  const weights = join(folder, "weights.safetensors");
  await writeSafetensors(weights, tensorsInLayout(layout, { read, dtypeOf: () => "F32", pieces }));
  const rows = join(folder, "batch.safetensors");
  await writeSafetensors(
    rows,
    Object.entries(feeds).map(([name, value]) => tensorToWrite(name, value)),
  );

  const backend = await cpuBackend();
  const store = backend.createStore();
  await fillStore(store, step, values);
  const executable = await backend.compile(step.graph, { sizes: { batch } });
  const first = (await executable.run(feeds, store)).loss!.data[0]!;
  for (let i = 0; i < 2; i++) await executable.run(feeds, store);

  const peer = openPeer(python, { weights, batch: rows, config: c, steps });
  const { loss } = (await peer.next()) as { readonly loss: number };
  if (Math.abs(loss - first) > 1e-4 * Math.abs(first))
    throw new Error(`the losses differ: heddle's is ${first}, PyTorch's ${loss}`);
  const ratios: Record<string, number[]> = {};
  const seconds: Record<string, number[]> = { heddle: [] };
  for (let round = 0; round < rounds; round++) {
    const begun = performance.now();
    for (let i = 0; i < steps; i++) await executable.run(feeds, store);
    const own = (performance.now() - begun) / 1e3 / steps;
    seconds.heddle!.push(own);
    for (const [mode, time] of Object.entries((await peer.round()) as Record<string, number>)) {
      seconds[mode] = [...(seconds[mode] ?? []), time];
      ratios[mode] = [...(ratios[mode] ?? []), time / own];
    }
  }
  await peer.close();
  backend.dispose();
  const ms = (of: string) => `${(1e3 * median(seconds[of]!)).toFixed(1)} ms`;
  process.stdout.write(
    [
      `first loss ${first.toFixed(5)}, PyTorch's ${loss.toFixed(5)}; batch ${batch}, ${rounds} rounds of ${steps} steps on ${cpus()[0]?.model}`,
      `heddle on the processor   ${ms("heddle")}`,
      ...Object.keys(ratios).map(
        (mode) => `PyTorch ${mode.padEnd(17)} ${ms(mode)}   ${median(ratios[mode]!).toFixed(2)} times heddle's`,
      ),
      "",
    ].join("\n"),
  );
  return 0;
}

/** A batch of noise images, with texts of 3 ids up to the context length. */
function batchOf(seed: number, rows: number, side: number, context: number, vocab: number): Record<string, HostTensor> {
  let state = seed;
  const draw = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const batch: SizedAxis = { name: "batch", size: rows };
  const image = ["channel", "row", "column"].map((name) => ({ name, size: name === "channel" ? 3 : side }));
  const ids = new Int32Array(rows * context);
  for (let row = 0; row < rows; row++) {
    const length = 3 + Math.floor(draw() * (context - 2));
    for (let i = 0; i < length; i++) ids[row * context + i] = 3 + Math.floor(draw() * (vocab - 3));
  }
  const pixels = Float32Array.from({ length: rows * 3 * side * side }, () => 2 * draw() - 1);
  return {
    pixels: hostTensor("f32", [batch, ...image], pixels),
    ids: hostTensor("i32", [batch, { name: "token", size: context }], ids),
  };
}

/** PyTorch in its own process, which answers each line with a line. */
function openPeer(python: string, order: object) {
  const script = fileURLToPath(new URL("peers/torch/train_step.py", import.meta.url));
  const child = spawn(python, [script], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise<never>((_, reject) => {
    child.on("error", (error) => reject(new Error(`${python} cannot be started: ${error.message}`)));
    child.on("close", (code) => reject(new Error(`${python} ended with ${code}: it needs PyTorch and safetensors`)));
  });
  ended.catch(() => {}); // reported to whoever awaits it
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const next = async (): Promise<unknown> => JSON.parse((await Promise.race([lines.next(), ended])).value as string);
  child.stdin.on("error", () => {});
  child.stdin.write(`${JSON.stringify(order)}\n`);
  return {
    next,
    round: async () => {
      child.stdin.write("round\n");
      return await next();
    },
    close: async () => {
      child.stdin.end();
      await ended.catch(() => {});
    },
  };
}
