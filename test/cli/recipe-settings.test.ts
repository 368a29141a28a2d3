/** A recipe that does not follow the settings of a run is an error, not a run with other settings. */
import { expect, it } from "vitest";
import { recipeFor } from "../../cli/stages/settings.ts";
import { type Config, constantRate, defineStage, mean, ones, type StageRecipe, settled } from "../../dsl/index.ts";

const stage = defineStage({
  name: "fit",
  optimizer: { rate: constantRate(0.1) },
  loss: (p) => ({ loss: mean(p.parameter("w", [{ name: "x", size: 2 }], ones), { name: "x", size: 2 }) as never }),
});
const own = { steps: 8, batch: 4, rate: 0.1 };
const fixed: StageRecipe<Config> = (config) => ({ config, ...own, startsFrom: ["nothing"], stage });
const following: StageRecipe<Config> = (config, given) => ({ ...fixed(config), ...settled(own, given) });

it("takes what the run sets", () => {
  expect(recipeFor(following, {}, { steps: 12, rate: 0.2 }, undefined)).toMatchObject({
    steps: 12,
    batch: 4,
    rate: 0.2,
  });
  expect(recipeFor(fixed, {}, { ...own }, undefined)).toMatchObject(own);
  expect(recipeFor(fixed, {}, {}, undefined)).toMatchObject(own);
});

it("may round or scale it", () => {
  const even: StageRecipe<Config> = (config, given) => {
    const { batch } = settled(own, given);
    return { ...fixed(config), batch: 2 * Math.ceil(batch / 2) };
  };
  expect(recipeFor(even, {}, { batch: 5 }, undefined)).toMatchObject({ batch: 6 });
});

it("is refused if it takes something else, with what to write", () => {
  expect(() => recipeFor(fixed, {}, { steps: 12, batch: 4 }, undefined)).toThrow(
    /takes no steps from the run, which sets steps=12\n {2}hint: .*settled\(\{ steps: 8, batch: 4, rate: 0\.1 \}, given\)/,
  );
  expect(() => recipeFor(fixed, {}, { steps: 12, rate: 0.2 }, undefined)).toThrow(
    "takes no steps and no rate from the run, which sets steps=12 and rate=0.2",
  );
});
