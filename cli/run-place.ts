/** The folder that a training run works in: taken for this process alone, and given back when it ends. */
import {
  type InheritedFrom,
  lockRunFolder,
  type Ranks,
  type RunLock,
  removeFailedStart,
  type Settings,
  tidyRunFolder,
  writeRunSettings,
  writeSources,
} from "../runtime/index.ts";
import { freshRunFolder } from "../runtime/node-index.ts";

export interface RunPlace {
  readonly folder: string;
  /** Removes a run that failed before its first step; a run that was resumed stays. */
  failed(): Promise<void>;
  dispose(): Promise<void>;
}

/** Takes the folder of a run that goes on, and removes what a killed process left half-written there. */
export const takeRun = (folder: string, ranks: Ranks): Promise<RunPlace> =>
  ofFirst(ranks, async () => {
    const lock = await lockRunFolder(folder);
    try {
      await tidyRunFolder(folder);
    } catch (error) {
      await lock.dispose();
      throw error;
    }
    return place(folder, lock, async () => {});
  });

/** Makes and takes the folder of a new run, in which stands what it began with. */
export const beginRun = (
  root: string,
  name: string,
  settings: Settings,
  sources: readonly InheritedFrom[],
  ranks: Ranks,
): Promise<RunPlace> =>
  ofFirst(ranks, async () => {
    const folder = await freshRunFolder(root, name);
    const lock = await lockRunFolder(folder);
    const run = place(folder, lock, () => removeFailedStart(folder));
    try {
      await writeRunSettings(folder, name, settings);
      if (sources.length > 0) await writeSources(folder, sources);
      return run;
    } catch (error) {
      await run.failed();
      await run.dispose();
      throw error;
    }
  });

/** Of several ranks the first has the place; the others know where it is. */
async function ofFirst(ranks: Ranks, take: () => Promise<RunPlace>): Promise<RunPlace> {
  let own: RunPlace | undefined;
  const folder = await ranks.decide(async () => {
    own = await take();
    return own.folder;
  });
  return own ?? { folder, failed: async () => {}, dispose: async () => {} };
}

const place = (folder: string, lock: RunLock, failed: () => Promise<void>): RunPlace => ({
  folder,
  failed,
  dispose: () => lock.dispose(),
});
