import { afterAll, describe, expect, test } from "vitest";
import { countParameters } from "../../compiler/index.ts";
import { trace } from "../../dsl/index.ts";
import { openSafetensors } from "../../runtime/index.ts";
import { heddle, scratch } from "../cli/support.ts";
import { bundled, exportTests, parityTests, published } from "./classifiers.ts";

parityTests([
  { name: "vit-22b-rms", model: "vit-22b", layout: 0 },
  { name: "vit-22b-layer", model: "vit-22b", layout: 0 },
]);

test("has the parameters of the independent model, those of the blocks as published: 21.7 billion", () => {
  const { parameters, byGroup } = countParameters(trace(bundled("vit-22b")));
  expect(parameters).toBe(22_203_598_848);
  const { blocks } = byGroup;
  expect(blocks).toBe(21_745_348_608);
  expect((blocks! / 1e9).toFixed(1)).toBe("21.7");
});

const tiny = { width: 48, depth: 1, heads: 2, mlp: 64, image: 15, patch: 5, classes: 5 };

describe("a file", () => exportTests("vit-22b", tiny));

describe("a folder of its weights", () => {
  const folder = scratch("vit-22b");
  afterAll(() => folder.remove());

  test("is written, read back without a changed element, and tells classes and features", async () => {
    const set = Object.entries(tiny).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
    const [first, again] = [folder.at("first"), folder.at("again")];
    expect(await heddle("convert", "vit-22b", "--weights", "random", "--out", first, ...set)).toMatchObject({
      status: 0,
    });
    expect(await heddle("convert", first, "--out", again)).toMatchObject({ status: 0 });
    await using before = await openSafetensors(first);
    await using after = await openSafetensors(again);
    expect([...after.tensors.keys()]).toEqual([...before.tensors.keys()]);
    for (const [name, { shape }] of before.tensors) {
      expect([name, after.tensors.get(name)!.shape]).toEqual([name, shape]);
      expect((await after.readTensor(name)).data).toEqual((await before.readTensor(name)).data);
    }
    const image = published("vit", "picture.png");
    const told = await heddle("run", again, "--device", "cpu", "--json", "classify", "--image", image);
    expect((JSON.parse(told.out) as [{ guesses: unknown[] }])[0].guesses).toHaveLength(5);
    const maps = folder.at("maps");
    expect(
      await heddle("run", again, "--device", "cpu", "features", "--image", image, "--blocks", "0,1", "--out", maps),
    ).toMatchObject({ status: 0 });
    await using states = await openSafetensors(folder.at("maps", "picture.safetensors"));
    expect([...states.tensors].map(([name, { shape }]) => [name, shape])).toEqual([
      ["block.0", [3, 3, 48]],
      ["block.1", [3, 3, 48]],
    ]);
  });
});
