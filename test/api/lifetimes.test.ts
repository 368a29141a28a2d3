/**
 * Devices, sessions and writers that are used at once, disposed of in any order, twice, or while something runs on
 * them.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import * as h from "../../api/index.ts";
import { gpt2Models } from "../../models/gpt2/index.ts";
import { softwareDevice } from "../support/adapter.ts";

const root = mkdtempSync(join(tmpdir(), "heddle-lifetimes-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const point = h.axis("point", 3);
const build = (p: h.Params) => ({ y: h.mul(h.input("x", "f32", [point]), p.parameter("w", [], h.ones)) });
const model = h.defineModel({ name: "line", summary: "a line", config: {}, build });
const stage = h.defineStage({
  name: "line",
  optimizer: { rate: h.constantRate(0.1) },
  loss: (p) => ({ loss: h.mean(build(p).y, point) }),
});
const values = (...data: number[]) => h.hostTensor("f32", [{ name: "point", size: 3 }], Float32Array.from(data));
const weights = (w: number) => ({ weights: new Map([["w", h.hostTensor("f32", [], [w])]]) });
const writing = {
  weights: { seed: 1 },
  tokenizer: h.byteTokenizer,
  settings: { depth: 1, width: 8, heads: 2, mlp: 8, vocab: 300, positions: 12 },
};

const opens: Readonly<Record<string, () => Promise<h.Device>>> = {
  reference: () => h.openDevice("reference"),
  webgpu: async () => h.openDevice((await softwareDevice()).device),
};

describe.each(Object.entries(opens))("on %s", (_, open) => {
  test("many sessions run at once, each with its own weights", async () => {
    const device = await open();
    const sessions = await Promise.all([1, 2, 3, 4].map((w) => h.session(device, model, weights(w))));
    const runs = sessions.flatMap((s) => [1, 2, 3].map((x) => s.run({ x: values(x, 0, 0) })));
    const found = (await Promise.all(runs)).map(({ y }) => y!.data[0]);
    expect(found).toEqual([1, 2, 3, 2, 4, 6, 3, 6, 9, 4, 8, 12]);
    for (const s of sessions) s.dispose();
    device.dispose();
  });

  test("what is disposed of says so, and may be disposed of again", async () => {
    const device = await open();
    const session = await h.session(device, model, weights(2));
    const writer = await h.openWriter(device, gpt2Models[0]!, writing);
    device.dispose();
    const calls = [
      () => session.run({ x: values(1, 2, 3) }),
      () => h.generate(writer, "ab").whole,
      () => h.session(device, model, weights(2)),
      () => h.openWriter(device, gpt2Models[0]!, writing),
      () => h.train({ stage, steps: 1, batch: () => ({ x: values(1, 2, 3) }) }, { device, folder: join(root, "run") }),
    ];
    for (const call of calls) await expect(call()).rejects.toThrow(/^the device ".+" has been disposed: open another/);
    for (const used of [session, writer, device, session, writer, device]) used.dispose();
    await expect(session.run({ x: values(1, 2, 3) })).rejects.toThrow("the session of @line has been disposed");
  });

  test("work that was begun before its device is disposed of ends as it would", async () => {
    const device = await open();
    const session = await h.session(device, model, weights(2));
    const writer = await h.openWriter(device, gpt2Models[0]!, writing);
    const opening = h.session(device, model, weights(3));
    const [run, text] = [session.run({ x: values(1, 2, 3) }), h.generate(writer, "ab", { maxNewTokens: 3 })];
    device.dispose();
    expect([...(await run).y!.data]).toEqual([2, 4, 6]);
    expect((await text.whole).tokens).toHaveLength(3);
    const opened = await opening;
    await expect(opened.run({ x: values(1, 2, 3) })).rejects.toThrow("has been disposed");
    for (const used of [session, writer, opened]) used.dispose();
  });

  test("a training whose device is disposed of in the middle is saved, says so, and goes on on another", async () => {
    const device = await open();
    const folder = mkdtempSync(join(root, "run-"));
    const training = (end: () => void): h.Training => ({
      stage,
      steps: 12,
      checkpointEvery: 1,
      batch: (step) => {
        if (step === 4) end();
        return { x: values(1, 2, 3) };
      },
    });
    await expect(
      h.train(
        training(() => device.dispose()),
        { device, folder },
      ),
    ).rejects.toThrow(/was disposed after step \d+ of 12, which is saved/);
    const other = await open();
    expect(
      (
        await h.train(
          training(() => {}),
          { device: other, folder },
        )
      ).steps,
    ).toBe(12);
    other.dispose();
  });
});

test("files that load opened are closed where its result is dropped, and Node need not", async () => {
  const path = join(root, "line.safetensors");
  await h.save(path, weights(2).weights);
  const script = `
    process.on("warning", (warning) => console.log(warning.message));
    const { load } = await import(${JSON.stringify(new URL("../../api/index.ts", import.meta.url).href)});
    for (let i = 0; i < 3; i++) await (await load(${JSON.stringify(path)})).read("w");
    const disposed = await load(${JSON.stringify(path)});
    await disposed.dispose();
    await disposed.dispose();
    for (let i = 0; i < 3; i++) await new Promise((done) => setTimeout(done, 10, gc()));
    console.log("end");`;
  const made = spawnSync(process.execPath, ["--expose-gc", "--input-type=module", "--eval", script], {
    encoding: "utf8",
  });
  expect(made.stderr).toBe("");
  expect(made.stdout).toBe("end\n");
});
