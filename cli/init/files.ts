/** The files of a new project: a model, a job that trains it, and the project's configuration. */

/** Package versions for a project's package.json. */
export interface ProjectVersions {
  readonly heddle: string;
  readonly typescript: string;
}

/** Content by path. */
export const projectFiles = (name: string, versions: ProjectVersions): Readonly<Record<string, string>> => ({
  "package.json": manifest(name, versions),
  "tsconfig.json": tsconfig,
  ".gitignore": "node_modules/\nruns/\n*.onnx\n",
  "README.md": readme(name),
  "model.ts": model,
  "train.ts": job,
});

const manifest = (name: string, { heddle, typescript }: ProjectVersions): string =>
  `${JSON.stringify(
    {
      name,
      private: true,
      type: "module",
      scripts: {
        check: "tsc",
        inspect: "heddle inspect model.ts",
        train: "heddle train train.ts",
        export: "heddle export model.ts --weights runs/spirals --out spirals.onnx --verify",
      },
      dependencies: { heddle: `^${heddle}` },
      devDependencies: { typescript: `^${typescript}` },
      engines: { node: ">=24" },
      // Scripts of packages that npm would ask about: only Dawn's is needed, on macOS. That of onnxruntime-node fetches
      // libraries of CUDA, which nothing here uses, and the package is left out where it cannot.
      allowScripts: { koffi: false, "onnxruntime-node": false, protobufjs: false, webgpu: true },
    },
    null,
    2,
  )}\n`;

const tsconfig = `${JSON.stringify(
  {
    compilerOptions: {
      target: "esnext",
      module: "nodenext",
      lib: ["esnext", "dom", "dom.iterable"],
      types: [],
      strict: true,
      noEmit: true,
      allowImportingTsExtensions: true,
      erasableSyntaxOnly: true,
      verbatimModuleSyntax: true,
    },
    include: ["*.ts"],
  },
  null,
  2,
)}\n`;

const readme = (name: string): string => `# ${name}

A model in TypeScript, made with heddle: \`model.ts\` declares it, \`train.ts\` trains it.

- \`npm run check\` type-checks both: a wrong axis is a type error.
- \`npm run inspect\` shows the model's structure, cost and kernels.
- \`npm run train\` trains it; checkpoints, weights and \`report.html\` are in \`runs/spirals\`.
  After a change, remove that folder, or continue the run with \`npm run train -- --resume\`.
- \`npm run export\` writes \`spirals.onnx\` and compares its outputs with heddle's own.
`;

const model = `/** Which of two spirals a point lies on. */
import * as h from "heddle";

export const config = { hidden: 32, depth: 2 };

const batch = h.axis("batch", "batch"); // any number of points, known when the model runs
const place = h.axis("place", 2); // x and y
const spiral = h.axis("spiral", 2);

/** A score for each spiral. */
export function scores(p: h.Params, points: h.Tensor<"batch" | "place">, c: typeof config) {
  const hidden = h.axis("hidden", c.hidden);
  let x = h.gelu(h.linear(p.scope("in"), points, [place], [hidden]));
  for (let i = 0; i < c.depth; i++) {
    const layer = p.scope("layers").scope(i);
    x = h.add(x, h.gelu(h.linear(layer, h.layerNorm(layer.scope("norm"), x, [hidden]), [hidden], [hidden])));
  }
  return h.linear(p.scope("out"), x, [hidden], [spiral]);
}

/** Its inputs, for the model and for its training. */
export const points = () => h.input("points", "f32", [batch, place]);
export const labels = () => h.input("labels", "i32", [batch]);

export const loss = (p: h.Params, c: typeof config) => ({
  loss: h.mean(h.crossEntropy(scores(p, points(), c), labels(), spiral), batch),
});

export default h.defineModel({
  name: "spirals",
  summary: "which of two spirals a point lies on",
  config,
  build: (p, c) => ({ scores: scores(p, points(), c) }),
});
`;

const job = `/** Trains the model on points drawn at random: \`npx heddle train train.ts --set steps=1000\`. */
import * as h from "heddle";
import { config, loss } from "./model.ts";

export default h.defineJob({
  name: "spirals",
  summary: "classifies points of two spirals",
  config: { ...config, steps: 300, batch: 128, rate: 0.01, seed: 1 },
  async build(c) {
    const stage = h.defineStage({
      name: "spirals",
      loss: (p) => loss(p, c),
      optimizer: { rate: h.cosine({ peak: c.rate, steps: c.steps, warmup: 20 }), weightDecay: 0.01 },
    });
    return {
      step: h.trainingStep(stage),
      steps: c.steps,
      sizes: { batch: c.batch },
      seed: c.seed,
      checkpointEvery: 100,
      // Endless batches, from where a run is resumed: what is drawn depends on the number of the batch alone.
      async *batches(cursor) {
        for (let i = Number(cursor ?? 0); ; i++) yield { feeds: pointsOf(i, c.batch, c.seed), next: i + 1 };
      },
    };
  },
});

/** Points on two spirals, a little off. */
function pointsOf(step: number, count: number, seed: number) {
  const drawn = h.randomStream(seed, "points").fill(h.uniform(0, 1), 3 * count, step);
  const points = new Float32Array(2 * count);
  const labels = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const [along, off, side] = drawn.subarray(3 * i, 3 * i + 3) as unknown as [number, number, number];
    labels[i] = side < 0.5 ? 0 : 1;
    const angle = 6 * along + Math.PI * labels[i]!;
    const radius = 0.1 + along + 0.05 * (off - 0.5);
    points.set([radius * Math.cos(angle), radius * Math.sin(angle)], 2 * i);
  }
  const batch = { name: "batch", size: count };
  return {
    points: h.hostTensor("f32", [batch, { name: "place", size: 2 }], points),
    labels: h.hostTensor("i32", [batch], labels),
  };
}
`;
