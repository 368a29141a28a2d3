/** File sizes, from file-system metadata only. */
import { stat } from "node:fs/promises";
import { mapLimited } from "../concurrency.ts";
import type { ListedFile } from "../listing.ts";

/** Concurrent queries, since a network folder answers each one slowly. */
const asked = 64;

/** Files in the given order; a file without readable metadata is listed with -1 bytes, and fails when it is read. */
export const listedFiles = (paths: readonly string[]): Promise<readonly ListedFile[]> =>
  mapLimited(paths, asked, async (name) => ({
    name,
    bytes: await stat(name).then(
      ({ size }) => size,
      () => -1,
    ),
  }));
