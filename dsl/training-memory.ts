/** Device memory of a training step, by kind, before anything is allocated. */
import { type BoundKernels, type MemoryByKind, memoryByKind, type Sizes } from "../compiler/index.ts";
import type { TrainingStep } from "./training.ts";

/** The names in the store of a step's tensors. */
type StoredNames = {
  readonly arenas: readonly Pick<TrainingStep["arenas"][number], "parameters" | "state" | "average">[];
  readonly accumulation?: { readonly sums: readonly { readonly name: string }[] };
  readonly frozen: TrainingStep["frozen"];
};

/**
 * Bytes used by a step's programs, by kind: its graph's and, with accumulation, the update's. docs/memory.md defines
 * the kinds; `kindOf` takes precedence, for state that only some steps keep.
 */
export function stepMemory(
  step: StoredNames,
  programs: readonly BoundKernels[],
  sizes: Sizes = {},
  kindOf: (name: string) => string | undefined = () => undefined,
): MemoryByKind {
  const kinds = new Map(
    step.arenas.flatMap(({ parameters, state, average }) => [
      [parameters, "trained parameters"],
      ...Object.entries(state).map(([name, stored]) => [stored, `optimizer, ${name}`]),
      ...(average === undefined ? [] : [[average, "averages"]]),
    ]) as [string, string][],
  );
  for (const { name } of step.accumulation?.sums ?? []) kinds.set(name, "sums of accumulation");
  for (const node of step.frozen) kinds.set(String(node.attrs.name), "frozen parameters");
  return memoryByKind(
    programs,
    { kept: (name) => kindOf(name) ?? kinds.get(name) ?? "other state", loss: "loss" },
    sizes,
  );
}
