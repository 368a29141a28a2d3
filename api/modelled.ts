/** What is run: a model with settings, one of its graphs, or a graph. */

import { UsageError } from "../compiler/index.ts";
import type { Config, Model } from "../dsl/index.ts";
import { type Graph, kindOfValue, trace } from "../dsl/index.ts";
import { kinds, type OptionTable } from "./options.ts";

/** A model, or a graph as `trace` and `parseGraph` give it. */
export type Modelled<C extends Config = Config> = Model<C> | Graph;

/** What of a model is meant. */
export interface ModelledOptions<C extends Config = Config> {
  /** Values that replace those of the model's configuration. */
  readonly settings?: Partial<C>;
  /** Which of the model's named graphs; default its own. */
  readonly graph?: string;
}

const isModel = <C extends Config>(what: Modelled<C>): what is Model<C> =>
  typeof what === "object" && what !== null && "kind" in what && what.kind === "heddle.model";

/** The model behind it, if there is one. */
export const modelOf = <C extends Config>(what: Modelled<C>): Model<C> | undefined =>
  isModel(what) ? what : undefined;

/** Of every function that takes a model. */
export const modelledOptions: OptionTable<ModelledOptions> = { settings: kinds.settings, graph: kinds.text };

/** Its graph. Throws UsageError for a setting or a graph that the model has not. */
export function graphOf<C extends Config>(what: Modelled<C>, { settings, graph }: ModelledOptions<C>): Graph {
  if (isModel(what)) return trace(what, settings ?? {}, { ...(graph !== undefined && { graph }) });
  if (Array.isArray(what?.inputs) && Array.isArray(what.outputs)) {
    if (settings === undefined && graph === undefined) return what;
    throw new UsageError(
      `a graph has neither settings nor named graphs, as models do: give @${what.name} without ${settings ? "settings" : "graph"}`,
    );
  }
  throw new UsageError(`what is run is a model, as defineModel gives it, or a graph; not ${kindOf(what)}`);
}

const kindOf = (what: object): string =>
  typeof what === "object" && what !== null && "kind" in what ? String(what.kind) : kindOfValue(what);
