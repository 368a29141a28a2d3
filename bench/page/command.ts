/**
 * heddle compared with onnxruntime-web and transformers.js in a page: `npm run bench -- page`. One model with random
 * weights is exported as an ONNX file for them, and as a bundle and safetensors for heddle; each runs in a browser of
 * its own, on the same adapter.
 */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Command } from "commander";
import { exportOnnx, save } from "../../api/index.ts";
import { inputName, isParameter } from "../../compiler/index.ts";
import { trace } from "../../dsl/index.ts";
import { initialValue } from "../../runtime/index.ts";
import { bundleModule } from "../../scripts/browser/bundle.ts";
import { startChromium } from "../../scripts/browser/chromium.ts";
import { folderFiles, type Served, serve } from "../../scripts/browser/serve.ts";
import { installPeers } from "../peers/install.ts";
import { median, spread } from "../statistics.ts";
import model from "./model.ts";
import type { Opened } from "./page.ts";
import { needPeers, type SubjectName, subjectNames, subjectsNamed } from "./subject.ts";

const peers = fileURLToPath(new URL("peers/", import.meta.url));

interface Options {
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
  readonly image: number;
  readonly runs: number;
  readonly rounds: number;
  readonly only?: readonly SubjectName[];
  readonly adapter?: string;
  readonly browser?: string;
  readonly json?: string;
}

export async function pageBench(argv: readonly string[]): Promise<number> {
  const program = new Command("bench page")
    .description("heddle, onnxruntime-web and transformers.js in a page: load, first result, steady state.")
    .option("--width <n>", "width of the vision transformer", Number, 192)
    .option("--depth <n>", "number of its blocks", Number, 12)
    .option("--heads <n>", "number of its attention heads", Number, 3)
    .option("--image <n>", "side of the square image, in pixels", Number, 224)
    .option("--runs <n>", "steady-state results per round", Number, 10)
    .option("--rounds <n>", "rounds; each opens every library once, and medians are printed", Number, 3)
    .option("--only <word>", "only the libraries whose names contain this; others are not installed", subjectsNamed)
    .option("--browser <path>", "a Chrome with a GPU; default: the bundled Chromium, on SwiftShader")
    .option(
      "--adapter <name>",
      "adapter that the bundle is compiled for; default: typical with --browser, else swiftshader",
    )
    .option("--json <file>", "also write all figures to this file");
  program.parse([...argv], { from: "user" });
  const options = program.opts<Options>();
  const note = (text: string) => void process.stderr.write(`${text}\n`);
  const names = options.only ?? subjectNames;
  const failed = needPeers(names) ? await installPeers(note, peers) : undefined;
  if (failed) throw new Error(failed);
  const folder = await mkdtemp(join(tmpdir(), "heddle-page-"));
  try {
    await exportModel(folder, options);
    const served = await serve(await bundleModule("bench/page/page.ts", { minify: true }), {
      files: folderFiles(
        new Map([
          ["", folder],
          ["peers", join(peers, "node_modules")],
        ]),
      ),
    });
    served.add(
      new Map([["index.html", '<script type="module">globalThis.page = await import("./page.js");</script>']]),
    );
    try {
      await measureAll(served, names, options, note);
    } finally {
      await served.close();
    }
  } finally {
    await rm(folder, { recursive: true });
  }
  return 0;
}

/** Exports the model in every format that is measured. */
async function exportModel(folder: string, options: Options): Promise<void> {
  const { width, depth, heads, image, browser } = options;
  const settings = { width, depth, heads, image };
  const parameters = trace(model, settings).inputs.filter(isParameter);
  const weights = new Map(parameters.map((node) => [inputName(node), initialValue(node, 1)]));
  const file = join(folder, "model.safetensors");
  await save(file, weights);
  await writeFile(join(folder, "settings.json"), JSON.stringify(settings));
  const set = Object.entries(settings).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
  const bin = fileURLToPath(new URL("../../bin/heddle.js", import.meta.url));
  const source = fileURLToPath(new URL("model.ts", import.meta.url));
  const out = join(folder, "bundle");
  const { adapter = browser === undefined ? "swiftshader" : "typical" } = options;
  const args = ["compile", source, "--target", "webgpu", "--adapter", adapter, "--out", out, "--weights", file, ...set];
  await promisify(execFile)(process.execPath, [bin, ...args]);
  await mkdir(join(folder, "vit/onnx"), { recursive: true });
  await writeFile(join(folder, "vit/onnx/model.onnx"), await exportOnnx(model, { settings, weights }));
  await writeFile(join(folder, "vit/config.json"), JSON.stringify({ model_type: "vit", image_size: image }));
}

/** The measurements of one opening of a subject; times in milliseconds. */
interface Figures extends Opened {
  readonly steady: readonly number[];
  /** CPU time of all browser processes per steady-state result, which is less sensitive to other load. */
  readonly processor: number;
}

/** Finishes each round over all subjects before the next, so that other load affects all of them. */
async function measureAll(
  { url }: Served,
  names: readonly SubjectName[],
  options: Options,
  note: (text: string) => void,
): Promise<void> {
  const rounds = new Map<SubjectName, Figures[]>();
  const device = await inBrowser(url, options, ({ call }) => call("adapter"));
  const failed = new Set<SubjectName>();
  for (let round = 1; round <= options.rounds; round++)
    for (const name of names.filter((n) => !failed.has(n))) {
      note(`${name}, round ${round} of ${options.rounds} ...`);
      try {
        const figures = await inBrowser(url, options, (page) => figuresOf(page, name, url, options));
        rounds.set(name, [...(rounds.get(name) ?? []), figures]);
      } catch (cause) {
        failed.add(name);
        note(`${name} fails: ${cause instanceof Error ? cause.message : cause}`);
      }
    }
  const rows = [...rounds].map(([name, figures]) => ({ name, rounds: figures }));
  process.stdout.write(`on ${device}, medians of ${options.rounds} rounds, and the quartiles of the steady state\n`);
  process.stdout.write(row("", "load", "first", "steady", "quartiles", "processor", "apart"));
  const reference = rows[0]?.rounds[0]?.logits ?? [];
  for (const { name, rounds: figures } of rows) {
    const of = (value: (f: Figures) => number) => ms(median(figures.map(value)));
    const steady = spread(figures.flatMap((f) => f.steady));
    const quartiles = `${steady.low.toFixed(0)}-${steady.high.toFixed(0)} ms`;
    const apart = Math.max(...figures.flatMap((f) => f.logits.map((x, i) => Math.abs(x - reference[i]!))));
    const times = [of((f) => f.load), of((f) => f.first), ms(steady.median), quartiles, of((f) => f.processor)];
    process.stdout.write(row(name, ...times, apart.toExponential(1)));
  }
  if (options.json) await writeFile(options.json, JSON.stringify({ device, options, rows }, null, 2));
}

async function figuresOf({ call, processor }: Opening, name: SubjectName, url: string, options: Options) {
  const opened = await call("open", name, url, options.image);
  const before = await processor();
  const steady = await call("steady", options.runs);
  return { ...opened, steady, processor: ((await processor()) - before) / options.runs };
}

const ms = (time: number): string => `${time.toFixed(time < 100 ? 1 : 0)} ms`;
const row = (name: string, ...cells: readonly string[]): string =>
  `${name.padEnd(18)}${cells.map((cell) => cell.padStart(13)).join("")}\n`;

type Page = typeof import("./page.ts");

/** The page in a browser of its own. */
interface Opening {
  /** Calls a function of the page. */
  call<K extends keyof Page>(name: K, ...args: Parameters<Page[K]>): Promise<Awaited<ReturnType<Page[K]>>>;
  /** CPU milliseconds that the browser has used. */
  processor(): Promise<number>;
}

async function inBrowser<T>(
  url: string,
  { browser: executable }: Options,
  use: (opening: Opening) => Promise<T>,
): Promise<T> {
  const browser = await startChromium([], executable);
  try {
    const [page, session] = [await browser.newPage(), await browser.newBrowserCDPSession()];
    page.setDefaultTimeout(0);
    await page.goto(url);
    await page.waitForFunction(() => "page" in globalThis);
    return await use({
      call: (name, ...args) =>
        page.evaluate(
          async ([key, values]) => {
            const { page: module } = globalThis as unknown as { page: Record<string, (...of: unknown[]) => unknown> };
            return (await module[key]!(...values)) as never;
          },
          [name as string, args as unknown[]] as const,
        ),
      async processor() {
        const { processInfo } = await session.send("SystemInfo.getProcessInfo");
        return 1000 * processInfo.reduce((sum, { cpuTime }) => sum + cpuTime, 0);
      },
    });
  } finally {
    await browser.close();
  }
}
