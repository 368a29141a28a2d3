/** A training step's entries in a report. */
import { inputName, type Node } from "../../compiler/index.ts";
import { type TrainingJob, unusedParameters } from "../training/job.ts";
import type { Fact } from "./section.ts";

/** Parameters, optimizer, precision and sizes of a job. */
export function jobFacts(job: TrainingJob): readonly Fact[] {
  const { step, sizes } = job;
  const { rule, precision, lossScale, accumulation, adapters = [] } = step;
  const unused = unusedParameters(job);
  const averaged = step.arenas.some(({ average }) => average !== undefined);
  return [
    { label: "Trained parameters", ...counted(step.trained) },
    ...(step.frozen.length > 0 ? [{ label: "Frozen parameters", ...counted(step.frozen) }] : []),
    ...(unused.length > 0 ? [{ label: "Parameters that the loss does not use", ...counted(unused) }] : []),
    ...(adapters.length > 0 ? [{ label: "Low-rank updates", value: `of ${adapters.length} weights` }] : []),
    { label: "Optimizer", value: rule.name, ...keeps(Object.keys(rule.state)) },
    ...Object.entries(step.hyperparameters ?? {}).map(([label, value]) => ({ label, value })),
    ...(averaged ? [{ label: "Averages", value: "of the weights, which the run writes" }] : []),
    { label: "Precision", value: precision, ...(lossScale && { note: scaleText(lossScale) }) },
    ...(accumulation ? [{ label: "Micro-batches per step", value: String(accumulation.count) }] : []),
    ...Object.entries(sizes).map(([name, size]) => ({ label: name, value: size.toLocaleString("en") })),
  ];
}

const keeps = (state: readonly string[]): Pick<Fact, "note"> =>
  state.length > 0 ? { note: `keeps ${state.join(" and ")} of each parameter` } : {};

const scaleText = ({ initial, goodSteps }: { readonly initial: number; readonly goodSteps?: string }): string =>
  goodSteps === undefined ? `loss scale ${initial}` : `loss scale adapts, from ${initial}`;

/** Counts distinct names: one parameter may be two nodes. */
function counted(nodes: readonly Node[]): { readonly value: string; readonly note: string } {
  const sizes = new Map(nodes.map((node) => [inputName(node), elements(node)]));
  const sum = [...sizes.values()].reduce((a, b) => a + b, 0);
  return { value: sum.toLocaleString("en"), note: `in ${sizes.size.toLocaleString("en")} tensors` };
}

/** The sizes of parameters are always constant. */
const elements = (node: Node): number => node.type.axes.reduce((n, { size }) => n * Number(size), 1);
