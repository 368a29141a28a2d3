/** A fraction among integers, which executors would round differently. */
import { axis, input, mul } from "../../../dsl/index.ts";

export const build = () => mul(input("ids", "i32", [axis("token", 7)]), 2.5);
