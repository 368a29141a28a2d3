/**
 * Runs a graph part by part, overlapping computation with the gathering of the next part's weights and the reduction of
 * the previous part's gradients.
 */
import type { Executable, Store } from "../../backends/backend.ts";
import { type Graph, type HostTensor, inputName, isParameter, isState } from "../../compiler/index.ts";
import type { GradientParts } from "./gradient-parts.ts";
import type { StepPart } from "./step-parts.ts";
import type { WeightParts } from "./weight-parts.ts";

type Feeds = Readonly<Record<string, HostTensor>>;

/** What is sharded over ranks, and how much of it is whole at a time. */
export interface DividedState {
  readonly gradients: GradientParts;
  /** Absent when every rank has all weights. */
  readonly weights?: WeightParts;
  /** Maximum bytes of a part's weights and gradients, unless a single operation has more. */
  readonly partBytes: number;
}

export interface PartRuns {
  /** Resolves when the device is done; gradients may still be in flight. */
  run(store: Store, feeds: Feeds): Promise<Record<string, never>>;
  /** Takes part in the collectives on a rank that has no samples left for this graph. */
  idle(): Promise<Record<string, never>>;
}

export async function partRuns(
  parts: readonly StepPart[],
  { gradients, weights }: DividedState,
  compile: (graph: Graph) => Promise<Executable>,
): Promise<PartRuns> {
  const executables: Executable[] = [];
  for (const part of parts) executables.push(await compile(part.graph));
  const fedTo = parts.map(({ graph }) => graph.inputs.filter((n) => !isParameter(n) && !isState(n)));
  const gathered = (i: number): Promise<ReadonlyMap<string, HostTensor>> | undefined => {
    const part = parts[i];
    const made = part && weights?.gather(part.graph.inputs.filter(isParameter).map(inputName));
    made?.catch(() => {}); // reported where it is awaited
    return made;
  };
  const given = (part: StepPart, outputs: Feeds): Feeds =>
    Object.fromEntries([...part.gradients].map(([output, parameter]) => [parameter, outputs[output]!]));
  return {
    run: async (store, feeds) => {
      let next = gathered(0);
      const running: Promise<unknown>[] = [];
      for (const [i, part] of parts.entries()) {
        const values = await next;
        for (const [name, value] of values ?? []) await store.write(name, value);
        next = gathered(i + 1);
        const own = Object.fromEntries(fedTo[i]!.map((n) => [inputName(n), feeds[inputName(n)]!]));
        const outputs = executables[i]!.run(own, store, { fetch: [...part.gradients.keys()] });
        running.push(outputs);
        outputs.catch(() => {}); // reported below
        gradients.add(
          [...part.gradients.values()],
          outputs.then((o) => given(part, o)),
        );
        if (!values) continue;
        await outputs; // the memory of its weights is reused for the next part's
        for (const name of values.keys()) store.remove(name);
      }
      await Promise.all(running);
      return {};
    },
    idle: async () => {
      for (const [i, part] of parts.entries()) {
        await gathered(i);
        gradients.add([...part.gradients.values()], undefined);
      }
      return {};
    },
  };
}
