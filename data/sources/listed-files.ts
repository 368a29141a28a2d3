/** The files of a place with their sizes, asked of the file system alone. */
import { stat } from "node:fs/promises";
import { mapLimited } from "../concurrency.ts";
import type { ListedFile } from "../listing.ts";

/** Questions under way at once: a folder on a network answers each of them late. */
const asked = 64;

/** Files in this order; one that cannot be asked is broken when it is read, and listed so. */
export const listedFiles = (paths: readonly string[]): Promise<readonly ListedFile[]> =>
  mapLimited(paths, asked, async (name) => ({
    name,
    bytes: await stat(name).then(
      ({ size }) => size,
      () => -1,
    ),
  }));
