/** docs/guide.md is one program: TypeScript accepts it, its model does what the guide says, and its commands exist. */
import { writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { inputName, isParameter } from "../../compiler/index.ts";
import { checkpointLayout, type Model, trace, trainingStep } from "../../dsl/index.ts";
import { heddle, scratch } from "../cli/support.ts";
import { blocks, inCheckout, readDoc } from "./snippets.ts";

const text = readDoc("guide.md");
const folder = scratch("guide");
const file = folder.at("mixer.ts");
let guide: {
  readonly default: Model;
  readonly scoresOf: (pixels: Float32Array) => Promise<{ data: ArrayLike<number> }>;
};
beforeAll(async () => {
  writeFileSync(file, inCheckout(blocks(text, "ts").join("\n")));
  guide = await import(file);
});
afterAll(() => folder.remove());

describe("the guide's model", () => {
  it("has no type error", async () => {
    expect(await heddle("inspect", file, "--check-types")).toMatchObject({ status: 0, err: "" });
  }, 60_000);

  it("has a layout of all its parameters", () => {
    const graph = trace(guide.default);
    const places = checkpointLayout(graph, guide.default.checkpoints!.layouts[0]!);
    expect(places.length).toBe(graph.inputs.filter(isParameter).length);
    expect(places.map((p) => p.name)).toContain("blocks.1.mlp_tokens.fc2.weight");
  });

  it("has a stage that leaves the stem as it is", () => {
    const { stage } = guide.default.stages!.classes!(guide.default.config, { steps: 7 });
    const { trained, frozen } = trainingStep(stage);
    expect(frozen.map(inputName)).toEqual(["stem.weight", "stem.bias"]);
    expect(trained.length).toBeGreaterThan(20);
  });

  it("is refused settings by its rules, and steps of another picture size by its axes", async () => {
    expect((await heddle("inspect", file, "--set", "depth=1.5")).err).toContain("mixer.depth is 1.5; expected");
    expect((await heddle("inspect", file, "--set", "patch=3")).err).toContain(
      'the size of axis "token" must be a positive integer or a symbol, got 28.44',
    );
  });

  it("runs from a program", async () => {
    const { data } = await guide.scoresOf(Float32Array.from({ length: 768 }, (_, i) => Math.sin(i)));
    expect(data).toHaveLength(3);
    expect([...(data as Float32Array)].every((v) => Number.isFinite(v) && v !== 0)).toBe(true);
  });
});

describe("the guide's commands", () => {
  const lines = blocks(text, "sh").flatMap((block) => block.trim().split("\n"));

  it.each(lines.filter((line) => line.startsWith("npx heddle ")))("%s", async (line) => {
    const [command = "", ...words] = line.replace("npx heddle ", "").split(" ");
    const mode =
      command === "run"
        ? ["features", "classify", "caption", "chat", "generate"].find((m) => words.includes(m))
        : undefined;
    const help = await heddle(...(mode === undefined ? [command, "--help"] : ["run", "m", mode, "--help"]));
    for (const option of words.filter((w) => w.startsWith("--"))) expect(help.out).toMatch(new RegExp(`${option}\\b`));
  });
});
