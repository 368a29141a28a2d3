/** The memory of a training step as people read it: in all, then by kind. */
import type { MemoryByKind, Program } from "../compiler/index.ts";
import { stepMemory } from "../dsl/index.ts";
import type { TrainingJob } from "../runtime/index.ts";
import type { ChosenDevice } from "./device.ts";
import { bytes } from "./output.ts";
import { ofEachGraph } from "./stage-figures.ts";

/** Rows of a table: the sum first. */
export function memoryRows(memory: MemoryByKind): readonly (readonly [string, string])[] {
  return [
    ["memory", bytes(totalOf(memory))],
    ...Object.entries(memory).map(([kind, n]) => [`  ${kind}`, bytes(n)] as const),
  ];
}

const totalOf = (memory: MemoryByKind): number => Object.values(memory).reduce((a, b) => a + b, 0);

/** Says what a job's step takes, by kind, when all of its graphs are compiled and before the last of it is allocated. */
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
