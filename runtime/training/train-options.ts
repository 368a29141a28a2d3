/** Where and how a job is trained. */
import type { Backend } from "../../backends/backend.ts";
import type { Ranks } from "../collectives/index.ts";

export interface TrainOptions {
  readonly folder: string;
  readonly backend: Backend;
  /** Go on from the folder's newest checkpoint. */
  readonly resume?: boolean;
  /** Stop after the step at hand, with a checkpoint. */
  readonly signal?: AbortSignal;
  readonly note: (text: string) => void;
  /** Shows no progress on stderr: what is to be said goes to `note`. Default false. */
  readonly quiet?: boolean;
  /** Is told the figures of each step, those of a validation among them, a few steps after it was begun. */
  readonly onStep?: (step: number, figures: Readonly<Record<string, number>>) => void;
  /** The processes that train together; default this one alone. */
  readonly ranks?: Ranks;
  /** Whether each rank keeps a part of the optimizer's state alone; default all of it. */
  readonly shardOptimizer?: boolean;
}
