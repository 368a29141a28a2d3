/** The folder that a training run works in: taken for this process alone, and given back when it ends. */
import {
  freshRunFolder,
  type InheritedFrom,
  lockRunFolder,
  type RunLock,
  removeFailedStart,
  type Settings,
  tidyRunFolder,
  writeRunSettings,
  writeSources,
} from "../runtime/index.ts";

export interface RunPlace {
  readonly folder: string;
  /** Removes a run that failed before its first step; a run that was resumed stays. */
  failed(): Promise<void>;
  dispose(): Promise<void>;
}

/** Takes the folder of a run that goes on, and removes what a killed process left half-written there. */
export async function takeRun(folder: string): Promise<RunPlace> {
  const lock = await lockRunFolder(folder);
  try {
    await tidyRunFolder(folder);
  } catch (error) {
    await lock.dispose();
    throw error;
  }
  return place(folder, lock, async () => {});
}

/** Makes and takes the folder of a new run, in which stands what it began with. */
export async function beginRun(
  root: string,
  name: string,
  settings: Settings,
  sources: readonly InheritedFrom[],
): Promise<RunPlace> {
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
}

const place = (folder: string, lock: RunLock, failed: () => Promise<void>): RunPlace => ({
  folder,
  failed,
  dispose: () => lock.dispose(),
});
