/** Runs stages in order: times and verifies each one, and reports it to the observers. */
import { InternalError } from "../diagnostics/error.ts";
import { timeline } from "../diagnostics/timeline.ts";
import type { RuleEvent } from "../rewrite/index.ts";
import { type AnyStage, type Check, checkOrder, type Form } from "./stage.ts";

/** What a stage did. */
export interface StageReport {
  readonly stage: string;
  readonly from: Form<unknown>;
  readonly to: Form<unknown>;
  readonly before: unknown;
  readonly after: unknown;
  /** False if the stage returned its input unchanged, in the same form. */
  readonly changed: boolean;
  readonly milliseconds: number;
}

/** Called after every stage; dumping, timing and tracing are implemented as observers. */
export interface StageObserver {
  readonly onStage?: (report: StageReport) => void;
  readonly onRule?: (event: RuleEvent, stage: string) => void;
}

export interface RunOptions {
  readonly observers?: readonly StageObserver[];
  /** Default "forms". */
  readonly check?: Check;
}

/** An internal error in a stage, together with the stage's input as text. */
export interface StageFault extends InternalError {
  readonly stage: string;
  readonly before: string;
}

export const isStageFault = (error: unknown): error is StageFault =>
  error instanceof InternalError && "before" in error && "stage" in error;

/** Runs all stages and returns the value in the requested form; throws StageFault if a stage breaks an invariant. */
export function runStages<O>(
  value: unknown,
  stages: readonly AnyStage[],
  result: Form<O>,
  options: RunOptions = {},
): O {
  checkOrder(stages);
  const last = stages.at(-1);
  if (last && last.to !== result)
    throw new InternalError(`stage "${last.name}" makes a ${last.to.name}, and a ${result.name} is asked for`);
  return stages.reduce((v, stage, i) => runStage(v, stage, i === 0, options), value) as O;
}

function runStage(
  before: unknown,
  stage: AnyStage,
  isFirst: boolean,
  { observers = [], check = "forms" }: RunOptions,
): unknown {
  const tracers = observers.flatMap((o) => (o.onRule ? [o.onRule] : []));
  const observe = (event: RuleEvent) => {
    for (const onRule of tracers) onRule(event, stage.name);
  };
  const start = performance.now();
  const after = guarded(stage, before, () => stage.run(before, tracers.length > 0 ? observe : undefined));
  const milliseconds = performance.now() - start;
  timeline()?.span("compiler", stage.name, start, start + milliseconds, { makes: stage.to.size(after) });
  // What a stage returned as it was has been verified after the one before; what the first is given, by nobody.
  if (isFirst || after !== before) guarded(stage, before, () => verify(stage, after, check));
  const watchers = observers.filter((o) => o.onStage);
  if (watchers.length === 0) return after;
  const kept = stage.from === stage.to && (before === after || stage.to.same?.(before, after) === true);
  const report = { stage: stage.name, from: stage.from, to: stage.to, before, after, changed: !kept, milliseconds };
  for (const o of watchers) o.onStage!(report);
  return after;
}

function guarded<T>(stage: AnyStage, before: unknown, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (!(error instanceof InternalError) || isStageFault(error)) throw error;
    throw Object.assign(error, { stage: stage.name, before: stage.from.print(before) });
  }
}

function verify({ name, from, to, run }: AnyStage, after: unknown, check: Check): void {
  to.verify(after, name, check);
  if (check !== "all") return;
  const { same } = to;
  if (!same) return;
  if (from === to && !same(run(after), after)) throw new InternalError(`stage "${name}" changes what it made itself`);
  if (to.parse && !same(to.parse(to.print(after)), after)) {
    throw new InternalError(`after stage "${name}", the printed ${to.name} reads back as another`);
  }
}
