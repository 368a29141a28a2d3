/** Graph rewriting: rules, patterns written with the ordinary op builders, and the driver that applies the rules. */
export * from "./driver.ts";
export * from "./pattern.ts";
export * from "./rule.ts";
