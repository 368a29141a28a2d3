/** Settings by name: what `--set` accepts, and what it says of the rest. */
import { describe, expect, it } from "vitest";
import { countParameters, UsageError } from "../../compiler/index.ts";
import {
  type AnyTensor,
  axis,
  type Config,
  type ConfigValue,
  configure,
  constant,
  defineModel,
  input,
  parseSettings,
  positive,
  trace,
  zeros,
} from "../../dsl/index.ts";
import { bundledModels } from "../../models/index.ts";
import { flattened } from "../../runtime/index.ts";

const find = (name: string) => bundledModels.find((m) => m.name === name)!;
const set = (name: string, ...settings: string[]): Config => configure(find(name), parseSettings(find(name), settings));
const refused = (name: string, ...settings: string[]): string => {
  try {
    trace(find(name), parseSettings(find(name), settings));
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError);
    return (error as Error).message;
  }
  throw new Error(`${settings.join(" ")} was accepted`);
};
const read = (config: Config, path: string): ConfigValue =>
  path.split(".").reduce<ConfigValue>((here, key) => (here as Config)[key]!, config);

describe("a key", () => {
  it.each([
    ["internvl-c", "image=364", "vision.image", 364],
    ["internvl-c", "vision.width=64", "vision.width", 64],
    ["internvl-c", "vocab=100", "text.vocab", 100],
    ["internvl-c", "embed=512", "embed", 512],
    ["internvl-g", "queries=32", "text.queries", 32],
    ["internvl-chat-vicuna-7b-qllama", "crossEvery=4", "qllama.crossEvery", 4],
  ])("of %s is found with or without its group: %s", (name, setting, path, value) => {
    expect(read(set(name, setting), path)).toBe(value);
  });

  it.each([
    ["internvl-c", "depth=32", 'internvl-c has "depth" more than once: use vision.depth or text.depth'],
    ["internvl-c", "imge=364", 'internvl-c has no setting "imge"'],
    ["internvl-c", "vision.dpth=1", 'internvl-c.vision has no setting "dpth"; did you mean "depth"? It has width,'],
    ["internvl-c", "foo=1", 'internvl-c has no setting "foo". It has vision, text, embed, poolingHeads, vision.width,'],
    [
      "internvl-c",
      "vision.width.x=1",
      'internvl-c.vision.width is a number, not a group of settings, so it has no "x"',
    ],
    ["internvl-c", "vision=3", "internvl-c.vision must be a group of settings, got a number: 3"],
    ["internvit-6b-upernet", "blocks=3", "internvit-6b-upernet.blocks must be a list, got a number: 3"],
  ])("of %s that leads nowhere: %s", (name, setting, message) => {
    expect(refused(name, setting)).toContain(message);
  });
});

describe("a value", () => {
  it.each([
    ["internvit-6b", "depth=0", "internvit-6b.depth is 0; expected an integer from 1 to 1000"],
    ["internvit-6b", "depth=-1", "internvit-6b.depth is -1; expected"],
    ["internvit-6b", "depth=1.5", "internvit-6b.depth is 1.5; expected"],
    ["internvit-6b", "depth=1e9", "internvit-6b.depth is 1000000000; expected"],
    ["internvit-6b", "width=1e9", "internvit-6b.width is 1000000000; expected an integer from 1 to 1048576"],
    ["internvit-6b", "heads=0", "internvit-6b.heads is 0; expected"],
    ["internvit-6b", "heads=7", "width 3200 is not divisible by 7 heads"],
    ["internvit-6b", "mlp=2.5", "internvit-6b.mlp is 2.5; expected"],
    ["internvit-6b", "image=-14", "internvit-6b.image is -14; expected an integer from 1 to 16384"],
    ["internvit-6b", "image=225", "image 225 is not divisible by the patch size, 14"],
    [
      "internvit-6b",
      "image=28x56",
      "the setting image=28x56: expected a number, such as 224; it is one number, for both sides",
    ],
    ["internvit-6b", "positions=225", "positions 225 is not divisible by the patch size, 14"],
    ["internvit-6b", "dropPath=2", "internvit-6b.dropPath is 2; expected a number in [0, 1)"],
    ["internvit-6b", "dropPathRule=foo", 'internvit-6b.dropPathRule is "foo"; expected one of uniform, linear'],
    ["internvl-c", "poolingHeads=7", "width 3200 is not divisible by 7 pooling heads"],
    ["internvl-c", "text.epsilon=-1", "internvl-c.text.epsilon is -1; expected a positive number"],
    ["internvl-g", "text.crossEvery=0", "internvl-g.text.crossEvery is 0; expected"],
    ["internvl-chat-vicuna-7b", "features=3", "features is 3; expected an integer from -1000 to -1"],
    ["internvl-chat-vicuna-7b", "features=-50", "features -50: InternViT has 48 blocks"],
    ["internvit-6b-upernet", "blocks=[1]", "blocks [1]: this head takes 4 blocks, each from 1 to 48"],
    ["internvit-6b-upernet", "blocks=[1,2,3,99]", "blocks [1, 2, 3, 99]: InternViT has 48 blocks"],
    ["internvit-6b-upernet", 'blocks=["a"]', "expected a list in which each value is an integer from 1 to 1000"],
    ["internvit-6b-probe", "features=x", 'internvit-6b-probe.features is "x"; expected one of concat, pooling'],
  ])("of %s out of range is told by its name: %s", (name, setting, message) => {
    expect(refused(name, setting)).toContain(message);
  });

  it("is told with all others that are wrong", () => {
    expect(refused("internvl-c", "vision.depth=0", "text.vocab=-1").split("\n")).toEqual([
      "internvl-c.vision.depth is 0; expected an integer from 1 to 1000",
      "internvl-c.text.vocab is -1; expected an integer from 1 to 1048576",
    ]);
  });
});

describe("a setting without a rule", () => {
  const own = defineModel({
    name: "own",
    summary: "a model of somebody else's",
    config: { depth: 4, drop: 0, base: 10000, inner: { width: 8, share: 0.5 } },
    rules: { base: positive },
    build: () => ({ x: constant(1) }),
  });
  const read = (...settings: string[]) => configure(own, parseSettings(own as never, settings) as never);

  it("that is a whole number stays one, unless 0 or 1 could be a rate, or the record says otherwise", () => {
    expect(() => read("depth=1.5", "width=0.1")).toThrow(
      "own.depth is 1.5; expected an integer, since the default is 4 (the rules of the model can allow fractions)\nown.inner.width is 0.1; expected",
    );
    expect(read("drop=0.1", "base=0.5", "share=0.25", "depth=2")).toMatchObject({
      depth: 2,
      drop: 0.1,
      base: 0.5,
      inner: { share: 0.25 },
    });
  });
});

describe("a configuration by name", () => {
  const named = bundledModels.flatMap((m) => Object.keys(m.configs ?? {}).map((config) => [m.name, config] as const));

  it.each(named)("of %s has all graphs, and is small if it is called so: %s", (name, config) => {
    const model = find(name);
    const chosen = set(name, config);
    if (config !== "clip") expect(countParameters(trace(model, chosen)).parameters).toBeLessThan(1e6);
    for (const graph of Object.keys(model.graphs ?? {})) trace(model, chosen, { graph });
  });

  const own = defineModel({
    name: "own",
    summary: "a model of somebody else's",
    config: { depth: 4, inner: { width: 8, heads: 2 } },
    configs: { tiny: { depth: 1, inner: { width: 2 } } },
    build: () => ({ x: constant(1) }),
  });

  it("is what later settings go on from, and a name that there is not is told", () => {
    const read = (...settings: string[]) => configure(own, parseSettings(own as never, settings) as never);
    expect(read("tiny", "width=6")).toEqual({ depth: 1, inner: { width: 6, heads: 2 } });
    expect(() => read("tinny")).toThrow(
      'a setting is key=value, or a configuration of own: tiny; got "tinny"; did you mean "tiny"?',
    );
    expect(() => parseSettings({ name: "bare", config: { depth: 4 } }, ["tiny"])).toThrow(
      'a setting is key=value; got "tiny"',
    );
  });

  it("that says what the model has not is refused where it is declared", () => {
    const with_ = (configs: object) => () => defineModel({ ...own, configs: configs as never });
    expect(with_({ tiny: { dpth: 1 } })).toThrow('own has no setting "dpth"; did you mean "depth"?');
    expect(with_({ tiny: { depth: 1.5 } })).toThrow("own.depth is 1.5; expected an integer");
    expect(with_({ tiny: 3 })).toThrow(
      "own.configs.tiny must be an object of the settings that differ, got the number 3",
    );
  });
});

it("that would build a model without end stops at the line that declares too many parameters", () => {
  const one = axis("one", 1);
  const model = defineModel({
    ...{ name: "deep", summary: "a sum", config: { layers: 2 } },
    build: (p, { layers }) => {
      let y: AnyTensor = input("x", "f32", [one]);
      for (let i = 0; i < layers; i++) y = p.parameter(`bias.${i}`, [one], zeros);
      return { y };
    },
  });
  expect(() => trace(model, { layers: 1e9 })).toThrow(/parameter "bias\.100000" is one more than the 100000/);
});

const depths = bundledModels.flatMap(({ name, config }) =>
  Object.keys(flattened(config))
    .filter((key) => key.split(".").at(-1) === "depth")
    .map((key) => [name, key] as const),
);
it.each(depths)("of %s: %s is no thousand million", (name, key) => {
  expect(refused(name, `${key}=1e9`)).toMatch(`${name}.${key} is 1000000000; expected an integer from`);
});
