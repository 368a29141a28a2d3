/** `heddle data`: inspects a data set, counts what filters would drop, and writes filtered shards. */
import { UsageError } from "../../compiler/index.ts";
import {
  type Holdings,
  holdings,
  type SampleKind,
  type Spread,
  type Survey,
  sampleKinds,
  survey,
  writeShards,
} from "../../data/index.ts";
import { escapeControls, startProgress } from "../../runtime/index.ts";
import { untilInterrupted } from "../interruption.ts";
import { bytes, digits, json, table } from "../output.ts";

export interface DataArguments {
  readonly kind: string;
  readonly images?: string;
  readonly language?: string;
  readonly quick: boolean;
  readonly json: boolean;
}

export interface FilterArguments extends DataArguments {
  readonly filter: readonly string[];
}

export interface WriteArguments extends FilterArguments {
  readonly out: string;
  readonly shardSize: number;
}

const say = (text: string) => process.stderr.write(`${escapeControls(text)}\n`);

/** `heddle data scan`: counts samples and broken files. */
export function scanCommand(specs: readonly string[], args: DataArguments): Promise<number> {
  return overAll(specs, args, [], async (kept, found) => {
    const held = holdings();
    for await (const raw of kept) await held.add(raw);
    return { facts: held.found(), text: () => describeHoldings(found.report, held.found()) };
  });
}

/** `heddle data filter`: counts what filters keep and drop. */
export function filterCommand(specs: readonly string[], args: FilterArguments): Promise<number> {
  if (args.filter.length === 0) throw new UsageError('data filter needs --filter, as in --filter "caption.words>=3"');
  return overAll(specs, args, args.filter, async (kept) => {
    let samples = 0;
    for await (const _ of kept) samples += 1;
    return { facts: { kept: samples }, text: () => table([["kept", digits(samples)]]) };
  });
}

/** `heddle data write`: writes what filters keep. */
export function writeCommand(specs: readonly string[], args: WriteArguments): Promise<number> {
  if (args.kind !== "pairs" && args.kind !== "conversations") {
    throw new UsageError(`only pairs and conversations can be written as shards, not ${args.kind}`);
  }
  return overAll(specs, args, args.filter, async (kept) => {
    const written = await writeShards(kept, args.out, args.shardSize);
    const rows: [string, string][] = [
      ["folder", args.out],
      [
        "written",
        `${counting(written.samples, "sample")}, ${counting(written.shards, "shard")}, ${bytes(written.bytes)}`,
      ],
    ];
    return { facts: { out: args.out, ...written }, text: () => table(rows) };
  });
}

interface Outcome {
  readonly facts: object;
  readonly text: () => string;
}

type Kept = ReturnType<Survey["kept"]>;

/** One pass over the data with a progress line, and its result on stdout. */
async function overAll(
  specs: readonly string[],
  args: DataArguments,
  filters: readonly string[],
  work: (kept: Kept, found: Survey) => Promise<Outcome>,
): Promise<number> {
  const { images, language } = args;
  return await untilInterrupted(async (signal) => {
    const found = await survey(specs, kindOf(args.kind), {
      filters,
      decode: !args.quick,
      signal,
      ...(images === undefined ? {} : { images }),
      ...(language === undefined ? {} : { language }),
    });
    const progress = startProgress({ description: "reading", total: found.parts, unit: "parts" });
    try {
      const outcome = await work(shown(found, progress), found);
      progress.dispose();
      const counts = { dropped: counted(found.dropped()), broken: counted(found.broken()) };
      process.stdout.write(
        args.json
          ? `${json({ ...outcome.facts, ...counts })}\n`
          : escapeControls(
              `${[outcome.text(), reasons("dropped", counts.dropped), reasons("broken", counts.broken)].filter((text) => text !== "").join("\n")}\n`,
            ),
      );
    } catch (error) {
      if (!signal.aborted) throw error;
      progress.dispose();
      say("stopped before the end; nothing was written");
    } finally {
      progress.dispose();
    }
  });
}

function kindOf(name: string): SampleKind {
  const kind = sampleKinds.find((one) => one === name);
  if (kind) return kind;
  throw new UsageError(`--kind must be one of ${sampleKinds.join(", ")}; got "${name}"`);
}

async function* shown(found: Survey, progress: ReturnType<typeof startProgress>): Kept {
  let [parts, samples] = [0, 0];
  const update = () => progress.update(parts, { samples });
  for await (const raw of found.kept((done) => {
    parts = done;
    update();
  })) {
    yield raw;
    samples += 1;
    if (samples % 100 === 0) update();
  }
  update();
}

export interface Reason {
  readonly reason: string;
  readonly count: number;
  readonly example: string;
}

export const counted = (counts: ReturnType<Survey["broken"]>): readonly Reason[] =>
  [...counts].map(([reason, found]) => ({ reason, ...found })).sort((a, b) => b.count - a.count);

export function reasons(title: string, counts: readonly Reason[]): string {
  if (counts.length === 0) return "";
  const total = counts.reduce((sum, { count }) => sum + count, 0);
  const width = digits(counts[0]!.count).length;
  const lines = counts.map(
    ({ reason, count, example }) => `    ${digits(count).padStart(width)}  ${reason}; ${example}`,
  );
  return [`  ${title} ${digits(total)}, by reason, each with an example`, ...lines].join("\n");
}

function describeHoldings(report: readonly string[], held: Holdings): string {
  const { samples, pictures, side, formats, texts, words, languages, classes } = held;
  const rows: [string, string][] = [
    ...report.map((line): [string, string] => ["data", line]),
    ["samples", digits(samples)],
    ["images", side ? `${digits(pictures)}, ${listed(formats)}; shorter side ${spread(side)} pixels` : "none"],
  ];
  if (words) rows.push(["texts", `${digits(texts)}, ${spread(words)} words`], ["languages", listed(languages)]);
  if (classes > 0) rows.push(["classes", digits(classes)]);
  return table(rows);
}

const counting = (n: number, what: string) => `${digits(n)} ${what}${n === 1 ? "" : "s"}`;
const spread = ({ least, median, most }: Spread) => `${digits(least)} to ${digits(most)}, median ${digits(median)}`;
const listed = (counts: Readonly<Record<string, number>>) =>
  Object.entries(counts)
    .map(([name, count]) => `${name} ${digits(count)}`)
    .join(", ");
