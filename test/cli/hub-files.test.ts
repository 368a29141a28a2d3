/** Folders as OpenCLIP and timm write them (scripts/reference/hub_files.py): settings, preprocessing, weights. */
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test, vi } from "vitest";
import { modelOfFolder } from "../../cli/checkpoint.ts";
import { classNamesIn } from "../../cli/class-names.ts";
import { pixelsFrom } from "../../cli/commands/run/pictures.ts";
import { checkpointPreprocessing } from "../../cli/preprocessor-config.ts";
import { countParameters, type ImageSize } from "../../compiler/index.ts";
import {
  type Config,
  codecsOf,
  fileOfCodec,
  isDescribedBy,
  type JsonRecord,
  type Model,
  trace,
} from "../../dsl/index.ts";
import { bundledModels } from "../../models/index.ts";
import { heddle, scratch } from "./support.ts";

vi.setConfig({ testTimeout: 120_000 });

const folder = scratch("hub-files");
afterAll(() => folder.remove());

const fixture = (path: string) => fileURLToPath(new URL(`../fixtures/${path}`, import.meta.url));
const read = <T>(path: string): T => JSON.parse(readFileSync(path, "utf8")) as T;
const [openClip, picture] = [fixture("open-clip"), fixture("clip/picture.png")];

async function succeeded(...args: string[]) {
  const ended = await heddle(...args);
  expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
  return ended;
}

interface Listed {
  readonly name: string;
  readonly config: JsonRecord;
  readonly parameters: number | null;
}

interface Made {
  readonly config: JsonRecord;
  readonly size: readonly [number, number];
  readonly pixels: string;
}

interface HubFiles {
  readonly preprocessing: Readonly<Record<"openClip" | "timm", Readonly<Record<string, Made>>>>;
  readonly architectures: readonly Omit<Listed, "name">[];
}

const hubFiles = read<HubFiles>(fixture("hub-files.json"));

/** The model of a folder with this one file. */
async function modelIn(name: string, json: object) {
  const at = scratch("one-file");
  try {
    writeFileSync(at.at(name), JSON.stringify(json));
    return await modelOfFolder(at.at());
  } finally {
    at.remove();
  }
}

describe("a folder that OpenCLIP saved", () => {
  const want = read<{ labels: string[]; logits: number[] }>(`${openClip}/expected.json`);

  const byTexts = ["--device", "cpu", "--json", "classify", "--image", picture, "--labels", want.labels.join()];

  async function classified(...model: string[]) {
    const ended = await succeeded("run", ...model, ...byTexts);
    const [{ guesses }] = JSON.parse(ended.out) as [{ guesses: { label: string; logit: number }[] }];
    for (const { label, logit } of guesses)
      expect(Math.abs(logit - want.logits[want.labels.indexOf(label)]!)).toBeLessThan(1e-5);
    expect(guesses).toHaveLength(want.labels.length);
    return ended.err;
  }

  test("classifies as open_clip does, with its own preprocessing, and so when it is converted", async () => {
    expect(await classified(openClip)).toMatch(/crop, bilinear, mean 0.5 0.4 0.6, .*\(.*open_clip_config.json\)/);
    const out = folder.at("converted");
    await succeeded("convert", openClip, "--out", out);
    expect(read(`${out}/config.json`)).toMatchObject({ model_type: "clip", vision_config: { patch_size: 5 } });
    expect(await classified(out)).toMatch(/crop, bilinear, mean 0.5 0.4 0.6, .*\(.*preprocessor_config.json\)/);
  });

  test("gives another model of the family its sizes", async () => {
    const at = folder.at("beside");
    cpSync(openClip, at, { recursive: true });
    writeFileSync(`${at}/config.json`, JSON.stringify({ architecture: "of another program" }));
    await classified("clip-vit-b-32", "--weights", at);
  });

  test("is written for models that have no config.json of transformers, and read again", async () => {
    const out = folder.at("rn50");
    await succeeded("convert", "clip-rn50", "--weights", "random", "--set", "tiny", "--out", out);
    expect(read(`${out}/open_clip_config.json`)).toMatchObject({
      model_cfg: { quick_gelu: true, vision_cfg: { layers: [1, 1, 1, 1] } },
      preprocess_cfg: { resize_mode: "shortest" },
    });
    const again = folder.at("again");
    await succeeded("convert", out, "--out", again);
    expect(read(`${again}/open_clip_config.json`)).toEqual(read(`${out}/open_clip_config.json`));
    expect(readFileSync(`${again}/model.safetensors`)).toEqual(readFileSync(`${out}/model.safetensors`));
  });

  test("keeps what heddle does not write, within objects too", async () => {
    const [at, out] = [folder.at("kept"), folder.at("kept-again")];
    await succeeded("convert", "clip-rn50", "--weights", "random", "--set", "tiny", "--out", at);
    const made = read<{ model_cfg: Record<string, object> }>(`${at}/open_clip_config.json`);
    made.model_cfg.text_cfg = { ...made.model_cfg.text_cfg, hf_tokenizer_name: "somebody/tokenizer" };
    writeFileSync(`${at}/open_clip_config.json`, JSON.stringify(made));
    await succeeded("convert", at, "--out", out);
    expect(read(`${out}/open_clip_config.json`)).toEqual(made);
  });
});

describe("open_clip's configurations", () => {
  const listed = read<Listed[]>(`${openClip}/configurations.json`);
  const readers = bundledModels.flatMap((model) => {
    const codec = codecsOf(model.checkpoints).find((c) => fileOfCodec(c).name === "open_clip_config.json");
    return codec ? [{ model, codec }] : [];
  });
  /** Layer scale and texts that are pooled or cleaned otherwise; the others are towers of other kinds. */
  const refused = /CLIPA|^ViT-L-14-worldwide|^ViT-M-16-alt/;
  const other = /^(coca|convnext|MobileCLIP|mt5|nllb|PE-|roberta|swin|vit_|ViTamin|xlm)|SigLIP/;

  const counted = new Map<string, number>();
  /** Counted once for models that differ in their activations only. */
  function parametersOf(model: Model, settings: Config): number {
    const sizes = JSON.stringify(settings, (key, value) => (key === "activation" ? undefined : value));
    const count = counted.get(sizes) ?? countParameters(trace(model, settings)).parameters;
    counted.set(sizes, count);
    return count;
  }

  test("describe models with as many parameters, or are refused by name", () => {
    const counts = { read: 0, refused: 0, other: 0 };
    for (const { name, config, parameters } of listed) {
      const json = { model_cfg: config };
      const found = readers.find(({ codec }) => isDescribedBy(codec, json));
      if (!found || refused.test(name)) {
        counts[found ? "refused" : "other"]++;
        if (found) expect(() => found.codec.read(json, found.model.config)).toThrow(/^(text|vision)_cfg: "\w+" is /);
        else expect(name).toMatch(other);
        continue;
      }
      const settings = found.codec.read(json, found.model.config);
      expect([name, parametersOf(found.model, settings)]).toEqual([name, parameters]);
      expect([name, found.codec.notes?.(json)]).toEqual([name, []]);
      const written = found.model.checkpoints?.config;
      if (written === found.codec)
        expect([name, written.read(written.write(settings)!, settings)]).toEqual([name, settings]);
      counts.read++;
    }
    expect(counts).toEqual({ read: 53, refused: 9, other: 82 });
  });

  test.each([
    ["openclip-vit-b-16", "ViT-B-16"],
    ["clip-vit-l-14", "ViT-L-14-quickgelu"],
    ["clip-rn50", "RN50-quickgelu"],
    ["eva01-clip-g-14", "EVA01-g-14"],
    ["eva02-clip-e-14-plus", "EVA02-E-14-plus"],
  ])("name %s for %s", async (model, name) => {
    const { config } = listed.find((one) => one.name === name)!;
    expect((await modelIn("open_clip_config.json", { model_cfg: config, preprocess_cfg: {} })).name).toBe(model);
  });

  test("are not written for images of a size that timm has no name for", () => {
    const { checkpoints, config } = bundledModels.find((m) => m.name === "eva02-clip-l-14")!;
    const of = (image: number) =>
      checkpoints!.config!.write({ ...config, vision: { ...(config.vision as Config), image } });
    expect(of(336)).toMatchObject({ model_cfg: { vision_cfg: { timm_model_name: "eva02_large_patch14_clip_336" } } });
    expect(of(448)).toBeUndefined();
  });

  test("of towers that are not known are refused with their kind", async () => {
    const { config } = listed.find((one) => one.name === "convnext_base")!;
    await expect(modelIn("open_clip_config.json", { model_cfg: config })).rejects.toThrow(
      /open_clip_config.json: "model_cfg" is "timm's convnext_base", but must be one of clip, clip-resnet, eva-clip/,
    );
    const eva = listed.find((one) => one.name === "EVA02-L-14")!.config as { vision_cfg: object };
    const other = { ...eva, vision_cfg: { ...eva.vision_cfg, timm_model_name: "eva02_tiny_patch14_224" } };
    await expect(modelIn("open_clip_config.json", { model_cfg: other })).rejects.toThrow(
      /"timm_model_name" is "eva02_tiny_patch14_224"; expected one of eva_giant_patch14_224, /,
    );
  });
});

describe("timm's config.json", () => {
  const known = [
    ["vit-ti-16", 224, 1000],
    ["vit-b-32", 384, 10],
    ["vit-h-14", 224, 0],
    ["deit-b-16-distilled", 224, 1000],
    ["deit-s-16", 320, 1000],
    ["dinov2-vit-s-14", 154, 0],
    ["dinov2-vit-g-14", 518, 0],
    ["resnet-18", 224, 7],
    ["resnet-152", 224, 1000],
  ] as const;

  test.each(known.map((row, i) => [...row, hubFiles.architectures[i]!] as const))(
    "describes %s with images of %i pixels and %i classes",
    async (name, image, classes, { config, parameters }) => {
      const model = await modelIn("config.json", config);
      expect([model.name, model.config]).toMatchObject([name, { image, classes }]);
      expect(countParameters(trace(model)).parameters).toBe(parameters);
    },
  );

  test.each([[undefined], [{}], [{ input_size: null }]])(
    "says the size of images by its name alone, with pretrained_cfg %j",
    async (pretrained_cfg) => {
      const json = { architecture: "vit_base_patch32_384", num_classes: 3, ...(pretrained_cfg && { pretrained_cfg }) };
      expect((await modelIn("config.json", json)).config).toMatchObject({ image: 384, classes: 3 });
    },
  );

  test("names classes by its label_names, whose number is as for id2label", () => {
    expect(classNamesIn({ label_names: ["n01", "n02"] })).toEqual(["n01", "n02"]);
    expect(classNamesIn({ label_names: ["n01"], id2label: { 0: "a", 1: "b" } })).toEqual(["a", "b"]);
  });

  test.each(
    [
      [/"global_pool" is "avg"; only "token" is supported/],
      [/model_args: "qk_norm" is true; only false is supported/],
      [/classifies by the class token alone; only num_classes 0 is supported/],
      [/"architecture" is "vit_base_patch14_reg4_dinov2", but must be one of .*vit_base_patch16/],
      [/"architecture" is "convnext_tiny", but must be one of /],
    ].map(([why], i) => [why!, hubFiles.architectures[known.length + i]!.config] as const),
  )("is refused: %s", async (why, config) => {
    await expect(modelIn("config.json", config)).rejects.toThrow(why);
  });
});

describe("pixels are those of the program that wrote the file", () => {
  const { picture } = read<{ picture: string }>(fixture("preprocessing.json"));
  const source = { name: "picture.png", bytes: Buffer.from(picture, "base64") };
  const files = {
    openClip: (config: JsonRecord) => ["open_clip_config.json", { model_cfg: {}, preprocess_cfg: config }] as const,
    timm: (config: JsonRecord) => ["config.json", { architecture: "resnet18", pretrained_cfg: config }] as const,
  };
  const cases = (["openClip", "timm"] as const).flatMap((program) =>
    Object.entries(hubFiles.preprocessing[program]).map(([name, made]) => [program, name, made] as const),
  );

  test.each(cases)("%s: %s", async (program, _, { config, size, pixels }) => {
    const at = scratch("pixels");
    try {
      const [name, json] = files[program](config);
      writeFileSync(at.at(name), JSON.stringify(json));
      const { mean, std, geometry } = (await checkpointPreprocessing(at.at(), size as ImageSize))!;
      const made = await pixelsFrom(source, { geometry: { size, ...geometry }, normalization: { mean, std } });
      const want = new Float32Array(Uint8Array.from(Buffer.from(pixels, "base64")).buffer);
      expect(made.data).toHaveLength(want.length);
      expect(Math.max(...want.map((value, i) => Math.abs(value - made.data[i]!)))).toBeLessThan(1e-5);
    } finally {
      at.remove();
    }
  });

  test.each([
    [
      "open_clip_config.json",
      "preprocess_cfg",
      { resize_mode: "longest" },
      /"resize_mode" of "preprocess_cfg" is "longest", but must be "shortest" or "squash"/,
    ],
    [
      "open_clip_config.json",
      "preprocess_cfg",
      { size: [9, 14] },
      /"size" of "preprocess_cfg" is .*, but crops must be squares/,
    ],
    [
      "open_clip_config.json",
      "preprocess_cfg",
      { interpolation: "random" },
      /"interpolation" .*but must be one of lanczos, bilinear, bicubic/,
    ],
    ["open_clip_config.json", "preprocess_cfg", [], /"preprocess_cfg" is .*expected an object/],
    [
      "config.json",
      "pretrained_cfg",
      { crop_mode: "border" },
      /"crop_mode" of "pretrained_cfg" is "border", but must be "center" or "squash"/,
    ],
    ["config.json", "pretrained_cfg", { crop_pct: 1.1 }, /"crop_pct" .*above 0 and at most 1/],
    ["config.json", "pretrained_cfg", { input_size: [1, 28, 28] }, /"input_size" .*must be \[3, height, width\]/],
  ])("a %s with a %s of %o is an error", async (name, key, fields, why) => {
    const at = scratch("refused");
    try {
      writeFileSync(at.at(name), JSON.stringify({ [key]: fields }));
      await expect(checkpointPreprocessing(at.at(), 12)).rejects.toThrow(why);
    } finally {
      at.remove();
    }
  });
});
