/** A constant that its dtype does not have. */
import { constant } from "../../../dsl/index.ts";

export const build = () => constant(-1, "u32");
