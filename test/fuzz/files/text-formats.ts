/** Texts written by hand: graphs, kernels, settings, hardware, data specs, classes and templates. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { classPrompts, readLabels, readTemplates } from "../../../cli/commands/run/prompts.ts";
import { clusterOf, parseHardware, recordOf } from "../../../cli/plan/hardware-text.ts";
import {
  baselineFacts,
  compileKernels,
  kernelIr,
  makeGraph,
  ops,
  parseGraph,
  printGraph,
} from "../../../compiler/index.ts";
import { judge, readFilters } from "../../../data/filters/filter.ts";
import { findSources } from "../../../data/sources/find.ts";
import { configure, parseSettings } from "../../../dsl/index.ts";
import { bundledModels } from "../../../models/index.ts";
import type { Format } from "./format.ts";

const example = () => {
  const a = { name: "a", size: 4 };
  const x = ops.input("x", "f32", [a, { name: "b", size: 3 }]);
  const w = ops.parameter("w", "f32", [a], { kind: "constant", value: 1 });
  return makeGraph("g", [{ name: "y", node: ops.sqrt(ops.contract(ops.exp(x), w, ["a"])) }]);
};

/** A file whose lines are each read on their own. */
const lines = (name: string, sound: readonly string[], read: (line: string, folder: string) => unknown): Format => ({
  name,
  write: async (folder) => {
    writeFileSync(join(folder, "lines.txt"), sound.join("\n"));
    return ["lines.txt"];
  },
  read: async (folder) => {
    let first: unknown;
    for (const line of readFileSync(join(folder, "lines.txt"), "utf8").split("\n"))
      try {
        await read(line, folder);
      } catch (error) {
        first ??= error;
      }
    if (first !== undefined) throw first;
  },
});

const graph: Format = {
  name: "graph",
  write: async (folder) => {
    writeFileSync(join(folder, "x.graph"), printGraph(example()));
    return ["x.graph"];
  },
  read: async (folder) => {
    const text = printGraph(parseGraph(readFileSync(join(folder, "x.graph"), "utf8"), "x.graph"));
    if (printGraph(parseGraph(text)) !== text) throw new Error(`what was read does not read back:\n${text}`);
  },
};

const kernel: Format = {
  name: "kernel",
  write: async (folder) => {
    const { kernels } = compileKernels(example(), baselineFacts);
    const text = kernels.map(({ kernel }) => kernelIr.printKernel(kernel)).join("\n");
    writeFileSync(join(folder, "x.kernel"), text);
    return ["x.kernel"];
  },
  read: async (folder) => {
    const print = (text: string) => kernelIr.parseKernels(text, "x.kernel").map(kernelIr.printKernel).join("\n");
    const text = print(readFileSync(join(folder, "x.kernel"), "utf8"));
    if (print(text) !== text) throw new Error(`what was read does not read back:\n${text}`);
  },
};

const model = bundledModels.find(({ name }) => name === "internvl-g")!;

const settings = lines("settings", ["vision.width=320", "positions=16", "text.rotaryBase=1e4", "embed=8"], (line) =>
  configure(model, parseSettings(model, [line])),
);

const hardware = lines("hardware", ["H200", "8×A100-80G", "640 x a100-80g , IB-200G", "4*H100"], (line) => {
  const asked = parseHardware(line);
  const { count, link } = clusterOf(recordOf(asked.device), asked);
  if (!(count >= 1 && Number.isSafeInteger(count))) throw new Error(`${count} devices`);
  if (link && !(link.bytesPerSecond > 0 && Number.isFinite(link.bytesPerSecond))) throw new Error(`${line}: no rate`);
});

const specs: Format = {
  ...lines("specs", ["shards/{000..003}.tar", "2*shards", "0.5*shards/*.tar", "shards/00{0,1}.t?r"], (line, folder) =>
    findSources([line.replaceAll("shards", join(folder, "shards"))], "pairs", { language: "und" }),
  ),
  write: async (folder) => {
    mkdirSync(join(folder, "shards"));
    for (let i = 0; i < 4; i++) writeFileSync(join(folder, "shards", `00${i}.tar`), "");
    writeFileSync(
      join(folder, "lines.txt"),
      ["shards/{000..003}.tar", "2*shards", "0.5*shards/*.tar", "shards/00{0,1}.t?r"].join("\n"),
    );
    return ["lines.txt"];
  },
};

const asked = ["caption.words>=3", "score.clip.b32>0.2", "no=placeholder", "without=words.txt", "score.aesthetic<=9"];

const filters: Format = {
  name: "filters",
  write: async (folder) => {
    const inFolder = asked.map((text) => text.replace("words.txt", join(folder, "words.txt")));
    writeFileSync(join(folder, "filters.json"), JSON.stringify(inFolder, null, 1));
    writeFileSync(join(folder, "words.txt"), "badger\nmushroom soup\n");
    return ["filters.json", "words.txt"];
  },
  read: async (folder) => {
    const read = await readFilters([join(folder, "filters.json"), `without=${join(folder, "words.txt")}`]);
    const fields = { aesthetic: 5, clip: { b32: 0.3 } };
    const judgement = await judge(read, { name: "x", group: "x", texts: { en: ["a cat on a mat"] }, fields });
    if (!("kept" in judgement) && typeof judgement.dropped !== "string") throw new Error("it is neither kept nor not");
  },
};

const classes: Format = {
  name: "classes",
  write: async (folder) => {
    const json = (name: string, value: unknown) => writeFileSync(join(folder, name), JSON.stringify(value));
    json("labels.json", { en: ["cat", "dog"], zh: ["猫", "狗"] });
    json("templates.json", { en: ["a photo of a {c}.", "{c}"], zh: ["{c}的照片"] });
    return ["labels.json", "templates.json"];
  },
  read: async (folder) => {
    const labels = await readLabels(join(folder, "labels.json"));
    const {
      prompts,
      classOf,
      labels: names,
    } = classPrompts(labels, await readTemplates(join(folder, "templates.json")));
    if (prompts.length !== classOf.length || !classOf.every((one) => names[one] !== undefined))
      throw new Error("prompts of no class");
    if (!prompts.every((text) => text.isWellFormed())) throw new Error("half of a surrogate pair is read as a text");
  },
};

export const textFormats: readonly Format[] = [graph, kernel, settings, hardware, specs, filters, classes];
