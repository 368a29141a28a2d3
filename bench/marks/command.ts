/** `npm run bench -- marks`: heddle's performance targets on an H200, in one table, beside PyTorch on the same card. */
import { Command, Option } from "commander";
import { type WebgpuBackend, webgpuBackend } from "../../backends/webgpu/index.ts";
import { requestDevice } from "../../backends/webgpu/node-index.ts";
import { tunedOptions } from "../../cli/index.ts";
import { HeddleError, UsageError } from "../../compiler/index.ts";
import { writeFileAtomically } from "../../runtime/index.ts";
import { difference } from "../agreement.ts";
import { deviceFacts } from "../device.ts";
import { attentions } from "./attention.ts";
import { encoder } from "./encoder.ts";
import type { MarkGroup, Outcome, PeerOrder } from "./mark.ts";
import { otherLibraries } from "./other-libraries.ts";
import { products } from "./products.ts";
import { resnet } from "./resnet.ts";
import { isMarks, type Scale, type Shapes, scales, shapesOf } from "./shapes.ts";
import { agrees, figure, printTable, type Row } from "./table.ts";
import { tokens } from "./tokens.ts";
import { type PeerReport, runTorch } from "./torch.ts";
import { training } from "./training.ts";

/** In the order of measurement: cheap ones first. */
const groups: readonly MarkGroup[] = [products, attentions, training, resnet, encoder, tokens, otherLibraries];
const words = groups.map((g) => g.name);

interface Options {
  readonly only?: string;
  readonly scale: Scale;
  readonly shapes: readonly string[];
  readonly peers: boolean;
  readonly python: string;
  readonly seconds: number;
  readonly tuning: boolean;
  readonly json: boolean;
  readonly out?: string;
}

const note = (text: string): void => void process.stderr.write(`${text}\n`);

/** Returns the exit status: 0 when every measured mark agrees with PyTorch, if that is available. */
export async function marksCommand(argv: readonly string[]): Promise<number> {
  let status = 1;
  const program = new Command("bench marks")
    .description(
      "Measure what is asked of heddle on an H200, beside PyTorch where it is there; results compared first.",
    )
    .option("--only <what>", `some of ${words.join(",")}`)
    .addOption(new Option("--scale <scale>", "small: to try the script").choices(scales).default("full"))
    .option("--shapes <key=n,...>", "other sizes, such as width=768,heads=12; may be repeated", collect, [])
    .option("--no-peers", "heddle alone")
    .option("--python <command>", "a Python that has PyTorch", "python3")
    .option("--seconds <n>", "begin nothing more when so many are used up, those of PyTorch among them", Number, 230)
    .option("--no-tuning", "without what heddle tune found")
    .option("--json", "print the rows as JSON", false)
    .option("--out <file>", "write the rows to a file as JSON")
    .action(async (options: Options) => {
      status = await measure(options);
    });
  try {
    await program.parseAsync([...argv], { from: "user" });
  } catch (error) {
    if (!(error instanceof HeddleError)) throw error;
    note(`${error.name}: ${error.message}`);
  }
  return status;
}

const collect = (value: string, before: string[]): string[] => [...before, value];

function chosen(only: string | undefined): readonly MarkGroup[] {
  if (only === undefined) return groups;
  const wanted = only.split(",").map((w) => w.trim());
  const unknown = wanted.find((w) => !words.includes(w));
  if (unknown !== undefined) throw new UsageError(`there are no marks "${unknown}": choose from ${words.join(", ")}`);
  return groups.filter((g) => wanted.includes(g.name));
}

async function measure(options: Options): Promise<number> {
  const shapes = shapesOf(options.scale, options.shapes);
  const begun = performance.now();
  // Time reserved for PyTorch to start and to do the same work.
  const reserved = options.peers ? Math.min(50, options.seconds / 2) : 0;
  const left = () => 1000 * (options.seconds - reserved) - (performance.now() - begun);
  const found = new Map<string, Outcome>();
  let backend: WebgpuBackend | undefined;
  let device = "none";
  for (const group of chosen(options.only)) {
    const missing = () => Object.keys(group.marks(shapes)).filter((m) => !found.has(m));
    const skip = (reason: string) => {
      for (const mark of missing()) found.set(mark, { skipped: reason });
    };
    if (group === otherLibraries && !options.peers) skip("left out by --no-peers");
    else if (left() <= 0) skip(`the ${options.seconds} seconds were used up`);
    else {
      backend ??= await opened(options.tuning);
      device = about(backend);
      const at = performance.now();
      note(`${group.name} ...`);
      const record = (mark: string, outcome: Outcome) => {
        found.set(mark, outcome);
        note(`  ${mark}: ${"skipped" in outcome ? outcome.skipped : figure(outcome.value)}`); // in case of a crash later
      };
      try {
        await group.measure({ backend, shapes, note }, record);
      } catch (error) {
        if (!(error instanceof Error)) throw error;
        skip(error.message.replace(/\s*\n\s*/g, " ").slice(0, 160));
        backend.dispose(); // later measurements could fail on the same device
        backend = undefined;
      }
      skip("it was not measured");
      note(`${group.name}: ${((performance.now() - at) / 1000).toFixed(1)} s`);
    }
  }
  backend?.dispose();
  const peers = await torch(found, options, 1000 * reserved + left());
  return await report(
    rowsOf(found, shapes, peers),
    { device, peers: peers.about, shapes, seconds: (performance.now() - begun) / 1000 },
    options,
  );
}

async function opened(tuning: boolean): Promise<WebgpuBackend> {
  const gpu = await requestDevice({ prefer: "hardware" });
  return webgpuBackend(gpu, await tunedOptions(gpu, tuning));
}

function about({ gpu }: WebgpuBackend): string {
  const { description, graphics, software, dawnFlags } = deviceFacts(gpu);
  const matrices = gpu.adapter.subgroupMatrices.length > 0 ? "matrix units" : "no matrix units";
  const half = gpu.features.has("shader-f16") ? "f16" : "no f16";
  return `${description} [${graphics}]${software ? ", a software adapter" : ""}, ${half}, ${matrices}${dawnFlags.length > 0 ? `; Dawn: ${dawnFlags.join(" ")}` : ""}`;
}

/** Runs PyTorch on what was measured, once heddle has released the card's memory. */
async function torch(found: ReadonlyMap<string, Outcome>, options: Options, left: number): Promise<PeerReport> {
  if (!options.peers) return { about: "left out by --no-peers", figures: new Map() };
  const orders = [...found].flatMap(([mark, o]): [string, PeerOrder][] =>
    "value" in o && o.peer ? [[mark, o.peer]] : [],
  );
  if (orders.length === 0) return { about: "nothing for PyTorch to do", figures: new Map() };
  note("PyTorch ...");
  const milliseconds = Math.max(45_000, left);
  return await runTorch(new Map(orders), {
    python: options.python,
    processor: options.scale === "small",
    milliseconds,
  });
}

const rowsOf = (found: ReadonlyMap<string, Outcome>, shapes: Shapes, { figures }: PeerReport): Row[] =>
  groups
    .flatMap((g) => Object.entries(g.marks(shapes)))
    .flatMap(([mark, asked]): Row[] => {
      const outcome = found.get(mark);
      if (!outcome) return [];
      const peer = figures.get(mark);
      const sample = "value" in outcome ? outcome.sample : undefined;
      if (!peer || "failure" in peer || !sample) return [{ mark, asked, outcome, ...(peer && { peer }) }];
      return [{ mark, asked, outcome, peer, difference: difference(sample, peer.sample) }];
    });

interface Header {
  readonly device: string;
  readonly peers: string;
  readonly shapes: Shapes;
  readonly seconds: number;
}

async function report(rows: readonly Row[], header: Header, options: Options): Promise<number> {
  const isAsked = isMarks(header.shapes);
  const lines = [
    `device   ${header.device}`,
    `peer     ${header.peers}`,
    `sizes    ${
      isAsked
        ? "those of the marks"
        : Object.entries(header.shapes)
            .map(([k, v]) => `${k}=${v}`)
            .join(" ")
    }`,
    `took     ${header.seconds.toFixed(0)} s`,
    "",
    printTable(rows, isAsked),
    "",
  ];
  const json = `${JSON.stringify({ ...header, rows: rows.map(plain) }, null, 2)}\n`;
  process.stdout.write(options.json ? json : lines.join("\n"));
  if (options.out !== undefined) await writeFileAtomically(options.out, json);
  return rows.every(agrees) && rows.some((r) => "value" in r.outcome) ? 0 : 1;
}

/** A row without the fields used only for comparison. */
function plain({ mark, asked, outcome, peer, difference: apart }: Row) {
  const other = peer && ("failure" in peer ? { failure: peer.failure } : { value: peer.value });
  const own = "skipped" in outcome ? outcome : { value: outcome.value, note: outcome.note };
  return {
    mark,
    ...asked,
    ...own,
    agrees: agrees({ mark, asked, outcome, ...(apart !== undefined && { difference: apart }) }),
    difference: apart,
    pytorch: other,
  };
}
