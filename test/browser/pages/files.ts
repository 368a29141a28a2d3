/** Files of a page: its own file system, and what it is given. */
import { opfsFileSystem } from "../../../runtime/host/opfs-file-system.ts";
import { deeds, outcome } from "../../host/deeds.ts";

/** The outcomes of all deeds in the page's own files. */
export async function outcomes(): Promise<unknown[]> {
  const fs = await opfsFileSystem();
  await fs.mkdir("/run");
  const found: unknown[] = [];
  for (const deed of deeds(fs, "/run")) found.push(await outcome(deed));
  return found;
}
