/** Lists of models of different settings. */
import type { Config, Model } from "../dsl/index.ts";

/** Erases a model's settings type, for lists of models. */
export const listed = <C extends Config>(model: Model<C>): Model => model as unknown as Model;
