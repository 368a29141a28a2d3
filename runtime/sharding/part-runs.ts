/** Runs of a graph in parts: weights are gathered while the part before computes, and gradients added up while the next does. */
import type { Executable, Store } from "../../backends/backend.ts";
import { type Graph, type HostTensor, inputName, isParameter, isState } from "../../compiler/index.ts";
import type { GradientParts } from "./gradient-parts.ts";
import type { StepPart } from "./graph-parts.ts";
import type { WeightParts } from "./weight-parts.ts";

type Feeds = Readonly<Record<string, HostTensor>>;

/** What ranks hold in parts, and how much of it is whole at a time. */
export interface DividedState {
  readonly gradients: GradientParts;
  /** Absent where every rank has all weights. */
  readonly weights?: WeightParts;
  /** Bytes of weights and gradients of a part at most, or those of one operation. */
  readonly partBytes: number;
}

export interface PartRuns {
  /** Resolves when the device is done; gradients may still be on their way. */
  run(store: Store, feeds: Feeds): Promise<Record<string, never>>;
  /** Does what other ranks expect of one that has no samples left for this graph. */
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
    made?.catch(() => {}); // told where it is awaited
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
        outputs.catch(() => {}); // told below
        gradients.add(
          [...part.gradients.values()],
          outputs.then((o) => given(part, o)),
        );
        if (!values) continue;
        await outputs; // the memory of its weights serves those of the next
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
