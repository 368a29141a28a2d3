/**
 * A job's statistics of the data that it has read, such as what was skipped, as `data.json` in its run's folder, for
 * reports.
 */
import { join } from "#host";
import type { Json } from "../checkpoint/state-file.ts";
import { writeFileAtomically } from "../files.ts";

export const toldFile = "data.json";

export async function writeTold(folder: string, told: Readonly<Record<string, Json>> | undefined): Promise<void> {
  if (told) await writeFileAtomically(join(folder, toldFile), `${JSON.stringify(told, null, 2)}\n`);
}
