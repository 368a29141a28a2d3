/** The folder of a training run: locked for this process, and released when it ends. */
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
  /** Removes a run that failed before its first step; a resumed run stays. */
  failed(): Promise<void>;
  dispose(): Promise<void>;
}

/** Locks the folder of a resumed run, and removes partial files of a killed process. */
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

/** Creates and locks the folder of a new run, with its initial settings. */
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
      if (sources.length > 0) await writeSources(folder, sources);
      await writeRunSettings(folder, name, settings); // last: it makes the folder a run that can be resumed
      return run;
    } catch (error) {
      await run.failed();
      await run.dispose();
      throw error;
    }
  });

/** Rank 0 has the folder; the others know its path. */
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
