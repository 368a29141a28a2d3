/** Resolves data specs: determines what each one refers to, and checks all of them before anything is read. */
import { readdirSync, statSync } from "node:fs";
import { dirname, extname, join } from "node:path";
import { FileError, UsageError } from "../../compiler/index.ts";
import { listFolder, type OnSkip, orFileError, orSystemFault } from "../files.ts";
import { type SampleKind, sampleKinds } from "../samples.ts";
import {
  captionedFiles,
  classFiles,
  classFolders,
  hasMasks,
  isPicture,
  maskFiles,
  openCaptions,
  openClasses,
  openMasks,
} from "./folder-parts.ts";
import { conversationOfRecord, type ListOptions, openList, pairOfRecord, type Reading } from "./list-parts.ts";
import { listedFiles } from "./listed-files.ts";
import { openRecords, recordFiles, recordOfList, recordOfShard } from "./record-parts.ts";
import { conversationOfShard, labelOfShard, maskOfShard, openShard, pairOfShard } from "./shard-parts.ts";
import type { Part, ReadOptions, Source } from "./source.ts";
import { parseSpec, pathsOf } from "./spec.ts";
import { openText, openTexts, textFiles, textOfRecord, textOfShard } from "./text-parts.ts";

/** The kinds of places that hold samples. */
type Place = "shard" | "list" | "folder" | "text";

type Open = (path: string, options: ReadOptions, onSkip: OnSkip) => Promise<Part>;

interface Reader {
  readonly open: Open;
  /** The files that a path refers to; default the path itself. */
  readonly files?: (path: string) => Promise<readonly string[]>;
  /** Why a path is not such a place; undefined if it is. */
  readonly refuses?: (path: string) => Promise<string | undefined>;
}

type ListForm = Pick<ListOptions, "byLine" | "captions">;

const list = (reading: Reading, form: ListForm = {}): Reader => ({
  open: (path, options, onSkip) =>
    openList(path, reading, { ...options, ...form, images: options.images ?? dirname(path) }, onSkip),
});

const shard = (reading: Parameters<typeof openShard>[1]): Reader => ({
  open: (path, options, onSkip) => openShard(path, reading, options, onSkip),
});

/** Which places can hold samples of a kind, and how they are read. */
const readers: Readonly<Record<SampleKind, Partial<Readonly<Record<Place, Reader>>>>> = {
  pairs: {
    shard: shard(pairOfShard),
    list: list(pairOfRecord, { captions: true }),
    folder: {
      open: (path, { language }, onSkip) => openCaptions(path, language, onSkip),
      files: captionedFiles,
      refuses: async (path) =>
        (await listFolder(path, "image folder")).some(isPicture)
          ? undefined
          : "it contains no images; subfolders are not searched, name them explicitly",
    },
  },
  conversations: { shard: shard(conversationOfShard), list: list(conversationOfRecord) },
  labels: {
    shard: shard(labelOfShard),
    folder: {
      open: (path, _, onSkip) => openClasses(path, onSkip),
      files: classFiles,
      refuses: async (path) =>
        (await classFolders(path)).length > 0
          ? undefined
          : "it contains no class folders: put the images of each class into a folder of its own",
    },
  },
  masks: {
    shard: shard(maskOfShard),
    folder: {
      open: (path, _, onSkip) => openMasks(path, onSkip),
      files: maskFiles,
      refuses: async (path) => (hasMasks(path) ? undefined : "it must contain the folders images and annotations"),
    },
  },
  texts: {
    shard: shard(textOfShard),
    list: list(textOfRecord),
    text: { open: (path, { language }) => openText(path, language) },
    folder: {
      open: (path, { language }) => openTexts(path, language),
      files: textFiles,
      refuses: async (path) => ((await textFiles(path)).length > 0 ? undefined : "it contains no .txt files"),
    },
  },
  records: {
    shard: shard(recordOfShard),
    list: list(recordOfList, { byLine: true }),
    folder: {
      open: openRecords,
      files: recordFiles,
      refuses: async (path) => ((await recordFiles(path)).length > 0 ? undefined : "it contains no .json files"),
    },
  },
};

const placeNames: Readonly<Record<Place, string>> = {
  shard: "WebDataset shards (.tar)",
  list: "lists (.json, .jsonl)",
  folder: "folders",
  text: "texts (.txt)",
};

/** The sources of specs; FileError listing each spec that refers to nothing, or to nothing of this kind. */
export async function findSources(
  specs: readonly string[],
  kind: SampleKind,
  options: ReadOptions,
): Promise<readonly Source[]> {
  if (!sampleKinds.includes(kind))
    throw new UsageError(`the kind of samples must be one of ${sampleKinds.join(", ")}, got "${kind}"`);
  if (specs.length === 0) throw new FileError("no data given: name shards, folders or lists");
  const found = await Promise.all(
    specs.map((spec) => orSystemFault(findSource(spec, kind, options), spec).catch(orFileError)),
  );
  const faults = found.filter((one) => one instanceof FileError);
  if (faults.length === 0) return withOneNumbering(found as readonly Source[], kind);
  if (faults.length === 1) throw faults[0];
  throw new FileError(["some data cannot be used:", ...faults.map(({ message }) => `  ${message}`)].join("\n"));
}

/** Folders number their classes by name, shards contain numbers: nothing guarantees that these agree. */
function withOneNumbering(sources: readonly Source[], kind: SampleKind): readonly Source[] {
  const [named, numbered] = [true, false].map((wanted) =>
    sources.find(({ classes }) => (classes !== undefined) === wanted),
  );
  if (kind !== "labels" || !named || !numbered) return sources;
  throw new FileError(
    `${named.spec} has class names, but ${numbered.spec} has class numbers: train on one of them, or write shards of both`,
  );
}

async function findSource(text: string, kind: SampleKind, options: ReadOptions): Promise<Source> {
  const { weight, path, splits } = parseSpec(text);
  const paths = pathsOf(path).flatMap(withoutShardFolders);
  const places = new Set(paths.map(placeOf));
  if (places.size > 1)
    throw new FileError(`${path} matches ${[...places].join(" and ")}s at once: name them separately`);
  const place = [...places][0]!;
  const reader = readers[kind][place];
  if (!reader) throw wrongKind(path, place, kind);
  for (const one of paths) {
    const why = await reader.refuses?.(one);
    if (why !== undefined) throw new FileError(`${one} has no ${kind}: ${why}`);
  }
  const classes = kind === "labels" && place === "folder" ? await classesOf(paths) : undefined;
  return {
    spec: text,
    weight,
    parts: paths,
    partName: place,
    isListed: place === "folder",
    files: async () => listedFiles(await orSystemFault(filesOf(reader, paths), path)),
    open: (part, onSkip) =>
      orSystemFault(
        reader.open(paths[part]!, splits ? { ...options, splits } : options, onSkip),
        `${place} "${paths[part]}"`,
      ),
    ...(classes ? { classes } : {}),
  };
}

const filesOf = async ({ files }: Reader, paths: readonly string[]): Promise<readonly string[]> =>
  files ? (await Promise.all(paths.map(files))).flat() : paths;

async function classesOf(paths: readonly string[]): Promise<readonly string[]> {
  return [...new Set((await Promise.all(paths.map((path) => classFolders(path)))).flat())].sort();
}

/** A folder of shards stands for its shards. FileError when it also contains images, which would be ignored. */
function withoutShardFolders(path: string): readonly string[] {
  if (!statSync(path).isDirectory()) return [path];
  const names = readdirSync(path);
  const shards = names.filter((name) => name.endsWith(".tar")).sort();
  const picture = shards.length > 0 ? names.find(isPicture) : undefined;
  if (picture !== undefined)
    throw new FileError(
      `${path} contains both shards (${shards[0]}) and images (${picture}): name the shards, as in ${join(path, "*.tar")}, or put them into separate folders`,
    );
  return shards.length > 0 ? shards.map((name) => join(path, name)) : [path];
}

function placeOf(path: string): Place {
  if (statSync(path).isDirectory()) return "folder";
  const extension = extname(path).toLowerCase();
  if (extension === ".tar") return "shard";
  if (extension === ".txt") return "text";
  if (extension === ".json" || extension === ".jsonl") return "list";
  throw new FileError(`${path} must be one of ${Object.values(placeNames).join(", ")}`);
}

function wrongKind(path: string, place: Place, kind: SampleKind): FileError {
  const right = Object.keys(readers[kind]).map((one) => placeNames[one as Place]);
  return new FileError(`${path}: ${kind} cannot be read from ${placeNames[place]}, only from ${right.join(" and ")}`);
}
