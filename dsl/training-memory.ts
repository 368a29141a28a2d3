/** What a training step takes of a device's memory, by kind, before anything is allocated. */
import { type BoundKernels, type MemoryByKind, memoryByKind, type Sizes } from "../compiler/index.ts";
import type { TrainingStep } from "./training.ts";

/** What is asked of a step: the names under which its tensors lie in the store. */
type StoredNames = {
  readonly arenas: readonly Pick<TrainingStep["arenas"][number], "parameters" | "state" | "average">[];
  readonly accumulation?: { readonly sums: readonly { readonly name: string }[] };
  readonly frozen: TrainingStep["frozen"];
};

/**
 * Bytes of a step's programs by kind: its graph's, and where micro-batches are accumulated that of the update.
 * docs/memory.md says what each kind is; `kindOf` says it first of what only some steps keep.
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
