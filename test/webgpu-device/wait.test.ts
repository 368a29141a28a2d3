import { describe, expect, test } from "vitest";
import { waitAsleep } from "../../backends/webgpu/runtime/wait.ts";

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("waitAsleep", () => {
  test("gives the value and the rejection of the promise", async () => {
    expect(await waitAsleep(turn().then(() => 7))).toBe(7);
    await expect(waitAsleep(turn().then(() => Promise.reject(new Error("no"))))).rejects.toThrow("no");
  });

  test("sleeps while it waits, and lets timers and other promises go on", async () => {
    const before = process.cpuUsage();
    const order: string[] = [];
    const slow = waitAsleep(new Promise((resolve) => setTimeout(resolve, 200))).then(() => order.push("slow"));
    const quick = waitAsleep(new Promise((resolve) => setTimeout(resolve, 20))).then(() => order.push("quick"));
    await Promise.all([slow, quick]);
    const { user, system } = process.cpuUsage(before);
    expect(order).toEqual(["quick", "slow"]);
    // Spinning costs the whole 200,000 microseconds, and more beside other load; sleeping costs a few thousand.
    expect(user + system).toBeLessThan(150_000);
  });

  test("waits again after all waits ended", async () => {
    for (let round = 0; round < 3; round++) expect(await waitAsleep(turn().then(() => round))).toBe(round);
  });
});
