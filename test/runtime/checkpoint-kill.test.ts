import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { loadNewestCheckpoint, randomStream } from "../../runtime/index.ts";
import { temporaryFolder } from "./support.ts";

const savingForever = join(import.meta.dirname, "saving-forever.ts");

it("a process killed while it saves leaves a checkpoint that loads, every time", async () => {
  const folder = await temporaryFolder();
  const delays = randomStream(1, "kill");
  let lastStep = 0;
  for (let round = 0; round < 4; round++) {
    const child = spawn(process.execPath, [savingForever, folder, String(lastStep)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await firstOutput(child);
    await sleep(delays.integer(round, 40)); // somewhere in a later save
    child.kill("SIGKILL");
    await once(child, "close");

    const loaded = await loadNewestCheckpoint(folder, (message) => expect.unreachable(message));
    expect(loaded!.step).toBeGreaterThan(lastStep);
    expect(new Set((await loaded!.groups.model!.readTensor("weight")).data)).toEqual(new Set([loaded!.step]));
    lastStep = loaded!.step;
    await loaded!.dispose();
  }
});

/** Resolves when the child has saved its first checkpoint. */
async function firstOutput(child: ChildProcess): Promise<void> {
  await Promise.race([
    once(child.stdout!, "data"),
    once(child, "exit").then(() => expect.unreachable("the child ended")),
  ]);
}
