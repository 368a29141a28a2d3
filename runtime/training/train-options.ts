/** Where and how a job is trained. */
import type { Backend } from "../../backends/backend.ts";
import type { Ranks } from "../collectives/index.ts";
import type { Shard } from "../sharding/shard.ts";

export interface TrainOptions {
  readonly folder: string;
  readonly backend: Backend;
  /** Resume from the folder's newest checkpoint. */
  readonly resume?: boolean;
  /** Stop after the current step, with a checkpoint. */
  readonly signal?: AbortSignal;
  readonly note: (text: string) => void;
  /** No progress on stderr: messages go to `note`. Default false. */
  readonly quiet?: boolean;
  /** Called with the metrics of each step, including validation, a few steps after it was submitted. */
  readonly onStep?: (step: number, figures: Readonly<Record<string, number>>) => void;
  /** The processes that train together; default only this one. */
  readonly ranks?: Ranks;
  /** What is sharded over ranks; default nothing: every rank keeps everything. */
  readonly shard?: Shard;
  /** Bytes of sharded weights, and of gradients, that are whole at a time; default 256 MiB. */
  readonly partBytes?: number;
}
