/** The memory of a training step as people read it: in all, then by kind. */
import type { MemoryByKind } from "../compiler/index.ts";
import { stepMemory } from "../dsl/index.ts";
import type { TrainingJob } from "../runtime/index.ts";
import type { ChosenDevice } from "./device.ts";
import { bytes } from "./output.ts";

/** Rows of a table: the sum first. */
export function memoryRows(memory: MemoryByKind): readonly (readonly [string, string])[] {
  return [
    ["memory", bytes(totalOf(memory))],
    ...Object.entries(memory).map(([kind, n]) => [`  ${kind}`, bytes(n)] as const),
  ];
}

const totalOf = (memory: MemoryByKind): number => Object.values(memory).reduce((a, b) => a + b, 0);

/** Says what the graphs of a job's step take, by kind, when they are compiled and before anything is allocated. */
export function tellMemory({ watch }: ChosenDevice, { step, sizes }: TrainingJob, say: (text: string) => void): void {
  const graphs = [step.graph, ...(step.accumulation ? [step.accumulation.update] : [])].map(({ name }) => name);
  watch?.((program) => {
    if (!graphs.includes(program.graph.name)) return;
    const memory = stepMemory(step, [program], sizes);
    const kinds = Object.entries(memory).map(([kind, n]) => `${kind} ${bytes(n)}`);
    say(`memory of @${program.graph.name}: ${bytes(totalOf(memory))}: ${kinds.join(", ")}`);
  });
}
