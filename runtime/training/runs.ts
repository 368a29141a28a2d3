/** What a step is made of when it runs: runs of graphs on the device, and what ranks do between them. */
import type { Store } from "../../backends/backend.ts";
import type { HostTensor } from "../../compiler/index.ts";
import type { DividedState } from "../sharding/part-runs.ts";
import type { Share } from "./share.ts";

type Feeds = Readonly<Record<string, HostTensor>>;

/** A run, or what ranks do together between two. */
export interface Run {
  readonly start: () => Promise<Readonly<Record<string, HostTensor>>>;
  /** Runs before it are to have ended, and those after it to begin when it has: it reads and writes the store itself. */
  readonly isAlone?: boolean;
}

export interface Phases {
  /** Micro-batches of a step that this process computes. */
  readonly count: number;
  /**
   * What is to be run, in this order, with a step's next batch; `micro` counts from 0, and the last run of the last of them
   * gives the step's figures. `feeds` has the batch's random numbers too.
   */
  runs(store: Store, micro: number, feeds: Feeds): readonly Run[];
  /** Makes what the graphs need in a store besides the state of a job. */
  readonly prepare?: (store: Store) => Promise<void>;
  dispose(): void;
}

/** What ranks do between the graphs of a step that they share. */
export interface Between {
  readonly share: Share;
  /** Makes features those of all samples. */
  gather(store: Store): Promise<void>;
  /** Makes what the loss says of features the sums of all ranks; where each says a term of it. */
  addRows?(store: Store): Promise<void>;
  /** Outputs of the last micro-batch that are sums of gradients, which `addEarly` takes as soon as they are there. */
  readonly early: readonly string[];
  addEarly(output: string, sum: Promise<HostTensor>, store: Store): void;
  /** Makes all other sums those of all ranks, when those are. */
  addUp(store: Store): Promise<void>;
  /** Seconds in which sums were exchanged and nobody waited for that. */
  besideSeconds(): number;
  /** Gives all ranks the parameters that each has updated; where each updates its own. */
  spread?(store: Store): Promise<void>;
  /** Where gradients, or weights too, are in parts. */
  readonly divided?: DividedState;
}
