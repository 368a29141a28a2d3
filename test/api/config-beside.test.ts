/** A config.json beside the weights gives a model's settings to every function that takes weights. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, expect, it } from "vitest";
import * as h from "../../api/index.ts";
import { serve } from "../../scripts/browser/serve.ts";

const root = mkdtempSync(join(tmpdir(), "heddle-config-beside-"));
afterAll(() => rmSync(root, { recursive: true }));

/** x + weight, of as many elements as a setting says. */
const model = h.defineModel({
  name: "shift",
  summary: "a shift",
  config: { width: 2, times: 1 },
  build: (p, c) => {
    const width = h.axis("width", c.width);
    return { y: h.add(h.input("x", "f32", [width]), h.mul(p.parameter("weight", [width], h.zeros), c.times)) };
  },
  checkpoints: {
    layouts: [],
    config: {
      types: ["shift"],
      read: (json, c) => ({ ...c, width: Number(json.hidden_size) }),
      write: (c) => ({ model_type: "shift", hidden_size: c.width }),
    },
  },
});

async function folder(name: string, config: string) {
  const at = join(root, name);
  mkdirSync(at);
  await h.save(
    join(at, "model.safetensors"),
    new Map([["weight", h.hostTensor("f32", [{ name: "width", size: 3 }], [1, 2, 3])]]),
  );
  writeFileSync(join(at, "config.json"), config);
  return at;
}

async function shifted(weights: string | URL, settings?: { times?: number; width?: number }) {
  const device = await h.openDevice("reference");
  try {
    const session = await h.session(device, model, { weights, ...(settings && { settings }) });
    const { y } = await session.run({ x: h.hostTensor("f32", [{ name: "width", size: 3 }], [0, 0, 0]) });
    return [...y!.data];
  } finally {
    device.dispose();
  }
}

it("of a published form, and of a run's", async () => {
  const published = await folder("published", '{ "model_type": "shift", "hidden_size": 3 }');
  expect(await shifted(published)).toEqual([1, 2, 3]);
  expect(await shifted(join(published, "model.safetensors"), { times: 2 })).toEqual([2, 4, 6]);
  expect((await h.exportOnnx(model, { weights: published })).length).toBeGreaterThan(0);
  const run = await folder("run", '{ "heddle_model": "shift", "width": 3, "times": 2 }');
  expect(await shifted(run)).toEqual([2, 4, 6]);
  expect(await shifted(run, { times: 1 })).toEqual([1, 2, 3]);
});

it("of a folder at a URL, whose address ends with a slash, and of a file: URL", async () => {
  const at = await folder("served", '{ "model_type": "shift", "hidden_size": 3 }');
  expect(await shifted(pathToFileURL(join(at, "model.safetensors")))).toEqual([1, 2, 3]);
  const files = readdirSync(at).map((name) => [`shift/${name}`, new Uint8Array(readFileSync(join(at, name)))] as const);
  const served = await serve(new Map(files));
  try {
    expect(await shifted(new URL("shift/", served.url))).toEqual([1, 2, 3]);
    const alone = new URL("shift/model.safetensors", served.url);
    await expect(shifted(alone)).rejects.toThrow(`${alone.href}: 0 tensors match`);
    expect(await shifted(new URL("shift/model.safetensors", served.url), { width: 3 })).toEqual([1, 2, 3]);
  } finally {
    await served.close();
  }
});

it("not of another model, nor what is not JSON", async () => {
  await expect(shifted(await folder("another", '{ "model_type": "other", "hidden_size": 3 }'))).rejects.toThrow(
    "weight",
  );
  await expect(shifted(await folder("broken", "{"))).rejects.toThrow("config.json is not JSON");
});
