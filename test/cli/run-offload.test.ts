/** `heddle run --offload` and `--dtype f16`: the same maps, with weights that stream or take half the memory. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { openSafetensors } from "../../runtime/index.ts";
import { heddle, modelFile, scratch, writePicture } from "./support.ts";

const folder = scratch("run-offload");
afterAll(folder.remove);
beforeAll(() => writePicture(folder.at("a.png"), 200, 40, 90));

const features = (out: string, ...options: readonly string[]) =>
  heddle(
    ...["run", modelFile("tiny-model.ts"), "--weights", "random", "--device", "cpu", ...options],
    ...["features", "--image", folder.at("a.png"), "--out", folder.at(out)],
  );

async function mapOf(out: string): Promise<readonly number[]> {
  await using reader = await openSafetensors(folder.at(out, "a.safetensors"));
  return Array.from((await reader.readTensor("block.2")).data);
}

it("gives the same maps when weights stream", async () => {
  const [whole, streamed] = [await features("whole"), await features("streamed", "--offload", "--memory", "4kB")];
  expect([whole.status, streamed.status]).toEqual([0, 0]);
  expect(streamed.err).toContain("streaming weights part by part: at most 4.0 kB");
  const want = await mapOf("whole");
  for (const [i, v] of (await mapOf("streamed")).entries()) expect(v).toBeCloseTo(want[i]!, 5);
});

it("gives nearly the same maps with weights in f16", async () => {
  const { status, err } = await features("half", "--dtype", "f16");
  expect(status).toBe(0);
  expect(err).toMatch(/^precision: f16 .*, because /m);
  const want = await mapOf("whole");
  for (const [i, v] of (await mapOf("half")).entries()) expect(v).toBeCloseTo(want[i]!, 1);
  expect(await mapOf("half")).not.toEqual(want);
});

it("takes --memory with --offload only", async () => {
  const { status, err } = await features("no", "--memory", "1GB");
  expect([status, err]).toEqual([1, expect.stringContaining("--memory needs --offload: give both")]);
});
