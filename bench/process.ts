/** The process that measures one contender in one case: its argument is the order, its message the measurement. */
import { cases } from "./cases.ts";
import type { Order } from "./fresh-process.ts";
import { measure } from "./measure.ts";

const order = JSON.parse(process.argv[2]!) as Order;
const found = cases.find((c) => c.name === order.name);
const load = found?.contenders[order.contender];
if (!found || !load) throw new Error(`there is no case "${order.name}" with "${order.contender}"`);
const measurement = await measure(await load(), { ...found, timed: order.timed, profile: order.profile });
// Native libraries keep threads and handles open; exit works for all of them.
process.send!(measurement, () => process.exit(0));
