/** Runs before each test file: what the file opens or replaces is closed and restored after it. */
import { afterAll, vi } from "vitest";
import { closeWhatFileOpened } from "./once-a-file.ts";

afterAll(async () => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  vi.unstubAllGlobals();
  await closeWhatFileOpened();
});
