/** Trains a recorded stage here, and tells how far it is from PyTorch. */
import type { Backend } from "../../backends/backend.ts";
import { type HostTensor, inputName, isParameter, makeGraph, type Precision } from "../../compiler/index.ts";
import { rootParams } from "../../dsl/index.ts";
import { readWeights } from "../../runtime/index.ts";
import { writeInitialState } from "../../runtime/training/state.ts";
import { type Digest, digest, noGradient, withGradients } from "../models/support.ts";
import { feedsAt, jobOf, placesOf, type Recorded } from "./recorded.ts";

/** The largest relative differences, each with where it is. */
export interface Differences {
  /** Of losses and their parts, over all steps. */
  readonly figures: Worst;
  readonly rate: Worst;
  readonly norm: Worst;
  /** Of every gradient of the first step; only where it was asked for. */
  readonly gradients?: Worst;
  /** Of trained tensors after all steps, relative to how long they are. */
  readonly after: Worst;
  /** Of running statistics; 0 where there are none. */
  readonly kept: Worst;
  /** Frozen tensors that changed in any bit. */
  readonly changed: readonly string[];
  /** Steps whose gradients were beyond f16, once for each time. */
  readonly skipped: readonly number[];
}

export interface Worst {
  readonly at: string;
  readonly by: number;
}

const none: Worst = { at: "", by: 0 };
const worse = (a: Worst, b: Worst): Worst => (b.by > a.by || Number.isNaN(b.by) ? b : a);
const apart = (got: number, want: number, least: number) => Math.abs(got - want) / Math.max(Math.abs(want), least);

export interface ComparisonOptions {
  readonly steps?: number;
  readonly precision?: Precision;
  readonly gradients?: boolean;
}

/** Halvings from the first loss scale to one that has nothing left to halve. */
const mostSkips = 10;

/**
 * Runs the recorded steps on a backend. A step that is skipped, since its gradients are beyond f16, leaves everything
 * but the loss scale as it was, and is run again with the same batch: PyTorch in float64 skips none, and so both make
 * the same updates.
 */
export async function compared(recorded: Recorded, backend: Backend, options: ComparisonOptions): Promise<Differences> {
  const { steps = recorded.steps.loss.length, precision = "f32", gradients = false } = options;
  const made = jobOf(recorded, precision);
  const { job, step } = made;
  const store = backend.createStore();
  await writeInitialState(job, store);
  const frozen = new Map(step.frozen.map((n) => [inputName(n), n] as const));
  const before = new Map<string, HostTensor>();
  for (const name of frozen.keys()) before.set(name, await store.read(name));

  const executable = await backend.compile(step.graph, { sizes: job.sizes, precision });
  const { gradient_norm: norms, rate: rates, ...figures } = recorded.steps;
  let worst = { figures: none, rate: none, norm: none };
  const skipped: number[] = [];
  for (let t = 0; t < steps; t++) {
    const feeds = feedsAt(recorded, step.graph, t);
    let got = await executable.run(feeds, store);
    for (; !Number.isFinite(got.gradient_norm!.data[0]) && skipped.length < mostSkips; skipped.push(t))
      got = await executable.run(feeds, store);
    const told = (name: string) => Number(got[name]!.data[0]);
    const at = (name: string) => `${name} of step ${t}`;
    for (const [name, want] of Object.entries(figures))
      worst = {
        ...worst,
        figures: worse(worst.figures, { at: at(name), by: apart(told(name), want[t]!, 1e-2) }),
      };
    worst = {
      ...worst,
      rate: worse(worst.rate, { at: at("rate"), by: apart(told("rate"), rates![t]!, 1e-12) }),
      norm: worse(worst.norm, { at: at("norm"), by: apart(told("gradient_norm"), norms![t]!, noGradient) }),
    };
  }

  const changed: string[] = [];
  for (const [name, value] of before) if (!sameBits(value, await store.read(name))) changed.push(name);
  const [after, kept] = await ends(recorded, made, await readWeights(job, store));
  executable.dispose();
  store.dispose();
  const first = gradients ? { gradients: await firstGradients(recorded, made, backend) } : {};
  return { ...worst, ...first, after, kept, changed, skipped };
}

const sameBits = (a: HostTensor, b: HostTensor): boolean => {
  const bytes = ({ data }: HostTensor) => Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return bytes(a).equals(bytes(b));
};

type Made = ReturnType<typeof jobOf>;

/**
 * Trained tensors and running statistics at the end. A tensor that the loss does not see goes where rounding takes it.
 */
async function ends(recorded: Recorded, { places }: Made, weights: ReadonlyMap<string, HostTensor>) {
  let [after, kept] = [none, none];
  for (const [parameter, place] of places) {
    const seen = recorded.gradients[place.name];
    if (!seen || seen[0] < noGradient) continue;
    const by = digestDifference(digest(weights.get(parameter)!, place), recorded.after[place.name]!, 1);
    after = worse(after, { at: place.name, by });
  }
  for (const [name, want] of Object.entries(recorded.kept)) {
    const value = weights.get(name)!;
    const plain = { parameter: name, name, shape: [], order: value.axes.map((a) => a.name) };
    kept = worse(kept, { at: name, by: digestDifference(digest(value, plain), want, 1) });
  }
  return [after, kept] as const;
}

const digestDifference = ([norm, product]: Digest, [wantNorm, wantProduct]: Digest, least: number): number =>
  Math.max(Math.abs(norm - wantNorm), Math.abs(product - wantProduct)) / Math.max(wantNorm, least);

/** Every gradient of what is trained; PyTorch must have the same ones. */
async function firstGradients(recorded: Recorded, { stage, step, job }: Made, backend: Backend): Promise<Worst> {
  const { loss } = stage.loss(rootParams({ training: true })) as { loss: Parameters<typeof makeGraph>[1][0]["node"] };
  const graph = withGradients(makeGraph("gradients", [{ name: "loss", node: loss }]));
  const trained = new Map(step.trained.map((n) => [inputName(n), n]));
  const wanted = makeGraph(
    "gradients",
    graph.outputs.filter((o) => trained.has(o.name)),
  );
  const store = backend.createStore();
  for (const n of wanted.inputs)
    if (isParameter(n)) await store.write(inputName(n), (await job.initial!(inputName(n)))!);
  const executable = await backend.compile(wanted, { sizes: job.sizes });
  const got = await executable.run(feedsAt(recorded, wanted, 0), store);
  executable.dispose();
  store.dispose();
  const places = placesOf([...trained.values()]);
  const missing = Object.keys(recorded.gradients).filter((n) => ![...places.values()].some((p) => p.name === n));
  if (missing.length > 0) throw new Error(`PyTorch alone has gradients of ${missing.join(", ")}`);
  // Where a gradient is nothing but rounding, it is that of numbers as large as the others.
  const least = Math.max(noGradient, 1e-2 * recorded.steps.gradient_norm![0]!);
  let worst = none;
  for (const [parameter, place] of places) {
    // A parameter that PyTorch's loss does not reach has no gradient there, and one of zeros here.
    const want = recorded.gradients[place.name] ?? [0, 0];
    worst = worse(worst, { at: place.name, by: digestDifference(digest(got[parameter]!, place), want, least) });
  }
  return worst;
}
