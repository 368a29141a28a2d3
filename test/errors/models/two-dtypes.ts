/** Half precision meets single precision. */
import { ops } from "../../../compiler/index.ts";

const embed = { name: "embed", size: 8 };

export const build = () =>
  ops.mul(
    ops.input("x", "f16", [embed]),
    ops.parameter("scale.of_two_dtypes", "f32", [embed], { kind: "constant", value: 1 }),
  );
