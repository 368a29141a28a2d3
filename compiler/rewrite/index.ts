/** Rewriting owns the rule language, patterns written with the ordinary builders, and the one driver that applies rules. */
export * from "./driver.ts";
export * from "./pattern.ts";
export * from "./rule.ts";
