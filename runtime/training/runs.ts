/** The sequence of a step: runs of graphs on the device, and the ranks' exchanges between them. */
import type { Store } from "../../backends/backend.ts";
import type { HostTensor } from "../../compiler/index.ts";
import type { DividedState } from "../sharding/part-runs.ts";
import type { Share } from "./share.ts";

type Feeds = Readonly<Record<string, HostTensor>>;

/** A run of a graph, or an exchange between two runs. */
export interface Run {
  readonly start: () => Promise<Readonly<Record<string, HostTensor>>>;
  /** Whether it accesses the store from the host, so that earlier runs must have ended and later ones must wait. */
  readonly isAlone?: boolean;
}

export interface Phases {
  /** Micro-batches per step that this process computes. */
  readonly count: number;
  /**
   * The runs, in order, for the step's next micro-batch; `micro` counts from 0, and the last run of the last one
   * returns the step's metrics. `feeds` includes the random inputs.
   */
  runs(store: Store, micro: number, feeds: Feeds): readonly Run[];
  /** Creates further tensors that the graphs need in a store, besides the job's state. */
  readonly prepare?: (store: Store) => Promise<void>;
  dispose(): void;
}

/** The ranks' exchanges between the graphs of a shared step. */
export interface Between {
  readonly share: Share;
  /** All-gathers the samples' features. */
  gather(store: Store): Promise<void>;
  /** Sums the loss's cotangents for the features over ranks, when each rank has a term of them. */
  addRows?(store: Store): Promise<void>;
  /** Outputs of the last micro-batch that are gradient sums; `addEarly` takes each as soon as it is available. */
  readonly early: readonly string[];
  addEarly(output: string, sum: Promise<HostTensor>, store: Store): void;
  /** Sums everything else over ranks, once it is complete. */
  addUp(store: Store): Promise<void>;
  /** Sums the terms of the update rule's sums over whole parameters, when each rank has a part of these. */
  addTerms?(store: Store): Promise<void>;
  /** Seconds of exchange that overlapped with computation. */
  besideSeconds(): number;
  /** Distributes the updated parameters to all ranks, when each updates only its own. */
  spread?(store: Store): Promise<void>;
  /** The moving average, when each rank has a part of it. */
  readonly averages?: SharedAverages;
  /** Present when gradients, or weights too, are sharded. */
  readonly divided?: DividedState;
}

/** All ranks call these at the same points of a run, around what reads the average. */
export interface SharedAverages {
  /** Makes the whole average available to rank 0, where the weights of a run are read. */
  show(store: Store): Promise<void>;
  /** Makes the weights available again, where the average took their place. */
  hide(store: Store): Promise<void>;
}

/** Requests after a step: end the run, save a checkpoint. */
export interface AfterStep {
  readonly stop: boolean;
  readonly save: boolean;
}
