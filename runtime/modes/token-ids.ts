/** Token ids as tensors. */
import { type HostTensor, hostTensor } from "../../compiler/index.ts";

/** i32 [batch = 1, token] */
export const idRow = (ids: readonly number[]): HostTensor =>
  hostTensor(
    "i32",
    [
      { name: "batch", size: 1 },
      { name: "token", size: ids.length },
    ],
    [...ids],
  );
