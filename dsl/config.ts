/** What the settings of a model, a stage or a job are made of. */
export type ConfigValue = number | string | boolean | readonly ConfigValue[] | { readonly [key: string]: ConfigValue };
export type Config = { readonly [key: string]: ConfigValue };
