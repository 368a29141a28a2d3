/** Weight files, and the model configurations beside them. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { modelOfFolder } from "../../../cli/checkpoint.ts";
import { readIndex, searched, writeIndex } from "../../../cli/commands/run/retrieval-index.ts";
import { recordName } from "../../../cli/family-name.ts";
import { flattened, ownConfigOf } from "../../../cli/own-config.ts";
import { sizedBySources } from "../../../cli/stages/sizes.ts";
import { nearest } from "../../../data/index.ts";
import { type Config, configure } from "../../../dsl/index.ts";
import { bundledModels, internvlG, writePublishedConfig } from "../../../models/index.ts";
import { openSafetensors, tensorToWrite, writeModel, writeRunSettings } from "../../../runtime/index.ts";
import type { Format } from "./format.ts";

const weight = (fill: number) =>
  tensorToWrite(`layer.${fill}`, {
    dtype: "f32",
    axes: [
      { name: "a", size: 3 },
      { name: "b", size: 5 },
    ],
    data: new Float32Array(15).fill(fill),
  });

async function readAll(path: string): Promise<void> {
  await using reader = await openSafetensors(path);
  for (const [name, { shape }] of reader.tensors) {
    const { data } = await reader.readTensor(name);
    if (data.length !== shape.reduce((n, side) => n * side, 1)) throw new Error(`${name} is not of its shape`);
  }
}

/** A model whose settings include a list and groups. */
const listed = bundledModels.find(({ config }) => Object.values(config).some(Array.isArray))!;

/** A configuration read from a broken file must have values of the same types as the usual one. */
function requireKinds(config: Config, usual: Config): void {
  for (const [key, value] of Object.entries(usual)) {
    const given = config[key];
    if (typeof given !== typeof value || Array.isArray(given) !== Array.isArray(value))
      throw new Error(`the setting ${key} is ${JSON.stringify(given)}, and is usually ${JSON.stringify(value)}`);
    if (typeof value === "object" && !Array.isArray(value)) requireKinds(given as Config, value as Config);
  }
}

const retrievalIndex: Format = {
  name: "retrieval-index",
  mayLack: 0,
  write: async (folder) => {
    const rows = (names: readonly string[]) => ({
      names,
      vectors: { width: 4, data: Float32Array.from({ length: 4 * names.length }, (_, i) => Number(i % 5 === 0)) },
    });
    const index = { model: "tiny", images: rows(["a.png", "b.png"]), texts: rows(["a cat", "قطة", "猫"]) };
    await writeIndex(join(folder, "index.safetensors"), index);
    return ["index.safetensors"];
  },
  read: async (folder) => {
    const index = await readIndex(join(folder, "index.safetensors"));
    for (const kind of ["images", "texts"] as const) {
      const { names, vectors } = searched("index.safetensors", index, kind, "tiny");
      const query = { width: 4, data: Float32Array.of(1, 0, 0, 0) };
      for (const { index: row, score } of nearest(query, 0, vectors, 2))
        if (names[row] === undefined || !Number.isFinite(score)) throw new Error(`row ${row} with ${score} is found`);
    }
  },
};

export const weightFormats: readonly Format[] = [
  {
    name: "safetensors",
    mayLack: 0,
    write: async (folder) => {
      await writeModel(folder, [weight(1), weight(2)]);
      return ["model.safetensors"];
    },
    read: (folder) => readAll(join(folder, "model.safetensors")),
  },
  {
    name: "shard-index",
    write: async (folder) => {
      await writeModel(folder, [weight(1), weight(2), weight(3)], { maxShardBytes: 100 });
      return ["model.safetensors.index.json"];
    },
    read: readAll,
  },
  {
    name: "config",
    write: async (folder) => {
      writeFileSync(join(folder, "config.json"), JSON.stringify(writePublishedConfig(internvlG.config), null, 1));
      return ["config.json"];
    },
    read: async (folder) => {
      const model = await modelOfFolder(folder);
      configure(model, {});
      requireKinds(model.config, bundledModels.find((m) => m.name === recordName(model))!.config);
    },
  },
  {
    name: "own-config",
    write: async (folder) => {
      writeFileSync(join(folder, "config.json"), JSON.stringify(ownConfigOf(listed.name, listed.config), null, 1));
      return ["config.json"];
    },
    read: async (folder) => {
      const model = await modelOfFolder(folder);
      configure(model, {});
      requireKinds(model.config, bundledModels.find((m) => m.name === recordName(model))!.config);
    },
  },
  {
    name: "sizes-of-a-run",
    write: async (folder) => {
      await writeRunSettings(folder, "job", { model: listed.name, ...flattened(listed.config) });
      return ["run.json"];
    },
    read: async (folder) => {
      const config = await sizedBySources(listed, [folder]);
      configure({ ...listed, config }, {});
      requireKinds(config, listed.config);
    },
  },
  retrievalIndex,
];
