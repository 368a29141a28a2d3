/** A value in the settings of a model, a stage or a job. */
export type ConfigValue = number | string | boolean | readonly ConfigValue[] | { readonly [key: string]: ConfigValue };
/** Settings by name; groups of them may be nested. */
export type Config = { readonly [key: string]: ConfigValue };
