/** Prints the memory of a training step: the total, then by kind. */
import type { MemoryByKind, Program } from "../compiler/index.ts";
import { stepMemory } from "../dsl/index.ts";
import type { TrainingJob } from "../runtime/index.ts";
import type { ChosenDevice } from "./device.ts";
import { bytes } from "./output.ts";
import { ofEachGraph } from "./stage-figures.ts";

/** Table rows: the total first. */
export function memoryRows(memory: MemoryByKind): readonly (readonly [string, string])[] {
  return [
    ["memory", bytes(totalOf(memory))],
    ...Object.entries(memory).map(([kind, n]) => [`  ${kind}`, bytes(n)] as const),
  ];
}

const totalOf = (memory: MemoryByKind): number => Object.values(memory).reduce((a, b) => a + b, 0);

/**
 * Reports the memory of a job's step, by kind, once all of its graphs are compiled and before the last is allocated.
 */
export function tellMemory({ watch }: ChosenDevice, { step, sizes }: TrainingJob, say: (text: string) => void): void {
  const graphs = Object.values(ofEachGraph(step, ({ name }) => name));
  const made = new Map<string, Program>();
  watch?.((program) => {
    if (!graphs.includes(program.graph.name) || made.size === graphs.length) return;
    made.set(program.graph.name, program);
    if (made.size < graphs.length) return;
    const memory = stepMemory(step, [...made.values()], sizes);
    const kinds = Object.entries(memory).map(([kind, n]) => `${kind} ${bytes(n)}`);
    say(`memory of @${step.graph.name}: ${bytes(totalOf(memory))}: ${kinds.join(", ")}`);
  });
}
