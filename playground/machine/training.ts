/** A training run on a device: its state there, its checkpoints, and its steps. */
import type { Backend, Executable, Store } from "../../backends/backend.ts";
import { type HostTensor, hostTensor, inputName, isParameter } from "../../compiler/index.ts";
import { type Graph, type Model, type StageSettings, type TrainingStep, trace, trainingStep } from "../../dsl/index.ts";
import { fillRandom } from "../../runtime/random/streams.ts";
import { type Batch, batchOf, type Shape } from "./batches.ts";
import type { Emoji } from "./emoji.ts";
import { recipeOf } from "./model.ts";
import type { Checkpoints } from "./storage.ts";
import { shapeOf } from "./towers.ts";

/** What is trained and how. */
export interface Plan {
  readonly model: Model;
  readonly stage: string;
  readonly settings: StageSettings;
  readonly seed: number;
  /** Belongs to the source and the settings: what is resumed has the same. */
  readonly key: string;
}

/** A point of the curve. */
export interface Point {
  readonly step: number;
  readonly loss: number;
}

export interface StepTaken {
  readonly step: number;
  readonly figures: Readonly<Record<string, number>>;
  readonly batch: Batch;
}

export class TrainingRun {
  readonly steps: number;
  readonly rows: number;
  readonly points: Point[] = [];
  /** Steps that were taken. */
  done = 0;
  private readonly plan: Plan;
  private readonly step: TrainingStep;
  private readonly shape: Shape;
  private readonly emoji: Emoji;
  private readonly store: Store;
  private readonly executable: Executable;

  private constructor(plan: Plan, emoji: Emoji, step: TrainingStep, store: Store, executable: Executable) {
    const recipe = recipeOf(plan.model, plan.stage, plan.settings);
    this.plan = plan;
    this.step = step;
    this.shape = shapeOf(plan.model, emoji);
    this.emoji = emoji;
    this.store = store;
    this.executable = executable;
    this.steps = recipe.steps;
    this.rows = recipe.batch;
  }

  /** Compiles the step, and begins anew or where the newest checkpoint was saved. */
  static async begin(plan: Plan, backend: Backend, emoji: Emoji, checkpoints: Checkpoints): Promise<TrainingRun> {
    const { stage, batch } = recipeOf(plan.model, plan.stage, plan.settings);
    const step = trainingStep(stage);
    const store = backend.createStore();
    const executable = await backend.compile(step.graph, { sizes: { batch }, precision: step.precision });
    const run = new TrainingRun(plan, emoji, step, store, executable);
    await run.initialize();
    await run.restore(checkpoints);
    return run;
  }

  /** Takes one step. */
  async take(): Promise<StepTaken> {
    const batch = batchOf(this.emoji, this.shape, this.rows, this.plan.seed, this.done);
    const outputs = await this.executable.run(batch.feeds, this.store);
    const figures = Object.fromEntries(Object.entries(outputs).map(([name, { data }]) => [name, Number(data[0])]));
    this.done += 1;
    this.points.push({ step: this.done, loss: figures.loss! });
    return { step: this.done, figures, batch };
  }

  /** The weights by name, as they are now. */
  async weights(): Promise<Map<string, HostTensor>> {
    const weights = new Map<string, HostTensor>();
    for (const { layout, parameters } of this.step.arenas) {
      const { data } = await this.store.read(parameters);
      for (const { name, type, offset, length } of layout.entries) {
        const axes = type.axes.map((a) => ({ name: a.name, size: Number(a.size) }));
        weights.set(name, hostTensor("f32", axes, (data as Float32Array).slice(offset, offset + length)));
      }
    }
    for (const node of this.step.frozen) weights.set(inputName(node), initialValue(node, this.plan.seed));
    return weights;
  }

  /** Keeps all that the run goes on from. */
  async save(checkpoints: Checkpoints): Promise<void> {
    const tensors = new Map<string, HostTensor>();
    for (const name of this.arenas()) tensors.set(name, await this.store.read(name));
    await checkpoints.save(this.plan.key, this.done, tensors, { points: JSON.stringify(this.points) });
  }

  private arenas(): string[] {
    return this.step.arenas.flatMap(({ parameters, state }) => [parameters, ...Object.values(state)]);
  }

  private async restore(checkpoints: Checkpoints): Promise<void> {
    const found = await checkpoints.newest(this.plan.key);
    if (!found) return;
    for (const name of this.arenas()) {
      const { data } = found.tensors.get(name)!;
      await this.store.write(name, flat(data as Float32Array));
    }
    this.done = Number(found.about.step);
    this.points.push(...(JSON.parse(found.about.points!) as Point[]));
    await this.store.write(this.step.counter, hostTensor("i32", [], [this.done]));
  }

  /** As the initializers draw it. */
  private async initialize(): Promise<void> {
    const { step, plan } = this;
    const trained = new Map(step.trained.map((node) => [inputName(node), node]));
    for (const { layout, parameters, state } of step.arenas) {
      const values = new Float32Array(layout.size);
      for (const { name, offset } of layout.entries)
        values.set(initialValue(trained.get(name)!, plan.seed).data as Float32Array, offset);
      await this.store.write(parameters, flat(values));
      for (const [name, start] of Object.entries(step.rule.state)) {
        const all = start === "parameter" ? values : new Float32Array(layout.size).fill(start);
        await this.store.write(state[name]!, flat(all));
      }
    }
    for (const node of step.frozen) await this.store.write(inputName(node), initialValue(node, plan.seed));
    for (const { name, type, initial } of step.kept) {
      const axes = type.axes.map((a) => ({ name: a.name, size: Number(a.size) }));
      const count = axes.reduce((n, a) => n * a.size, 1);
      await this.store.write(name, hostTensor("f32", axes, new Float32Array(count).fill(initial)));
    }
    await this.store.write(step.counter, hostTensor("i32", [], [0]));
    if (step.lossScale) await this.store.write(step.lossScale.state, hostTensor("f32", [], [step.lossScale.initial]));
    if (step.lossScale?.goodSteps) await this.store.write(step.lossScale.goodSteps, hostTensor("i32", [], [0]));
  }

  dispose(): void {
    this.executable.dispose();
    this.store.dispose();
  }
}

const flat = (data: Float32Array): HostTensor => hostTensor("f32", [{ name: "arena", size: data.length }], data);

/** A parameter as its initializer draws it, from a stream of its own. */
function initialValue(node: Graph["inputs"][number], seed: number): HostTensor {
  const axes = node.type.axes.map((a) => ({ name: a.name, size: Number(a.size) }));
  const shape = axes.map((a) => a.size);
  const init = node.attrs.init as unknown as Parameters<typeof fillRandom>[0];
  return hostTensor("f32", axes, fillRandom(init, shape, seed, `parameter ${inputName(node)}`));
}

/** The weights of a model before it is trained. */
export const untrained = (model: Model, seed: number): Map<string, HostTensor> =>
  new Map(
    trace(model)
      .inputs.filter(isParameter)
      .map((node) => [inputName(node), initialValue(node, seed)]),
  );
