/** Files in real Chromium: OPFS behaves as a disk does. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import { fileSystem } from "../../runtime/host/node-host.ts";
import { deeds, outcome } from "../host/deeds.ts";
import { browserTest } from "./support.ts";

type Page = typeof import("./pages/files.ts");

const disk = mkdtempSync(join(tmpdir(), "heddle-files-"));
afterAll(() => rmSync(disk, { recursive: true, force: true }));

browserTest("OPFS behaves as a disk, deed by deed", async ({ chromium }) => {
  const { call } = await chromium.open<Page>("files");
  const inPage = await call("outcomes");
  for (const [i, deed] of deeds(fileSystem, disk).entries()) expect([i, inPage[i]]).toEqual([i, await outcome(deed)]);
});
