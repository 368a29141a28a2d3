/** Collectives of cooperating processes: the interface, and its implementations for a single process and for MPI. */
export { telling } from "./agreements.ts";
export { type Beside, beside } from "./beside.ts";
export { type Channel, type Collectives, type Numbers, type Range, rangesOf, type Traffic } from "./collectives.ts";
export { differences, type Facts, RanksDifferError } from "./differences.ts";
export { type ExchangeCosts, exchangeCosts, measureExchange, type TimedExchange } from "./measure.ts";
export { oneRank, type Ranks } from "./ranks.ts";
export { singleProcess } from "./single.ts";
