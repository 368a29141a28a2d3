/** What can be run: a model with settings, one of its graphs, or a graph. */

import { UsageError } from "../compiler/index.ts";
import type { Config, Model } from "../dsl/index.ts";
import { type Graph, kindOfValue, trace } from "../dsl/index.ts";
import { kinds, type OptionTable } from "./options.ts";

/** A model, or a graph as `trace` and `parseGraph` return it. */
export type Modelled<C extends Config = Config> = Model<C> | Graph;

/** Selects a model's configuration and graph. */
export interface ModelledOptions<C extends Config = Config> {
  /** Overrides of the model's configuration. */
  readonly settings?: Partial<C>;
  /** One of the model's named graphs; default its main graph. */
  readonly graph?: string;
}

const isModel = <C extends Config>(what: Modelled<C>): what is Model<C> =>
  typeof what === "object" && what !== null && "kind" in what && what.kind === "heddle.model";

/** The model, unless it is a graph. */
export const modelOf = <C extends Config>(what: Modelled<C>): Model<C> | undefined =>
  isModel(what) ? what : undefined;

/** The options of every function that takes a model. */
export const modelledOptions: OptionTable<ModelledOptions> = { settings: kinds.settings, graph: kinds.text };

/** The graph to run. Throws UsageError for a setting or graph that the model does not have. */
export function graphOf<C extends Config>(what: Modelled<C>, { settings, graph }: ModelledOptions<C>): Graph {
  if (isModel(what)) return trace(what, settings ?? {}, { ...(graph !== undefined && { graph }) });
  if (Array.isArray(what?.inputs) && Array.isArray(what.outputs)) {
    if (settings === undefined && graph === undefined) return what;
    throw new UsageError(
      `@${what.name} is a graph, and only models take ${settings ? "settings" : "graph"}: leave that option out`,
    );
  }
  throw new UsageError(`expected a model from defineModel or a graph, got ${kindOf(what)}`);
}

const kindOf = (what: object): string =>
  typeof what === "object" && what !== null && "kind" in what ? String(what.kind) : kindOfValue(what);
