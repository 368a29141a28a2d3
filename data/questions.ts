/** Visual questions with reference answers, in the formats of POPE, VQA, LLaVA and MME. */
import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { FileError, shown, UsageError } from "../compiler/index.ts";
import {
  insideFolder,
  isRecord,
  listFolder,
  type OnSkip,
  readJson,
  reasonOf,
  requirePath,
  requireWellFormed,
} from "./files.ts";
import { decodeUtf8, imageExtensions } from "./folders.ts";
import type { ImageSource } from "./images.ts";
import { instructionOf, parseRecord } from "./instructions.ts";

export interface Question {
  /** Its name in messages. */
  readonly name: string;
  readonly image?: ImageSource;
  readonly text: string;
  /** The reference answers: one, or those of several annotators. */
  readonly answers: readonly string[];
  /** The category by which results are grouped, such as "popular" or "number". */
  readonly category?: string;
}

export interface QuestionOptions {
  /** The folder of the images; default that of the file. */
  readonly images?: string;
  /** The image file name for questions that give an id: in "COCO_val2014_{12}.jpg" the id is padded to 12 digits. */
  readonly imageName?: string;
  /** A file of answers by `question_id`, if they are separate from the questions. */
  readonly answers?: string;
}

/**
 * The questions in a file: an array of records, one record per line, or an object with the array as `questions` or
 * `data`. A record has `text` or `question`, `image` or `image_id`, and `label`, `answer` or `answers`; or LLaVA's
 * `conversations`. Incomplete records are reported to `onSkip`. FileError for a file without records.
 */
export async function readQuestions(
  path: string,
  { images = dirname(path), imageName, answers }: QuestionOptions,
  onSkip: OnSkip,
): Promise<readonly Question[]> {
  await requirePath(images, "folder", "image folder");
  const known = answers === undefined ? undefined : await answersById(answers);
  const records = await recordsOf(path, ["questions", "data"]);
  return records.flatMap((record, index) => {
    const name = `${path}[${index}]`;
    try {
      const entry = typeof record === "string" ? parseRecord(record) : record;
      if (!isRecord(entry)) throw new FileError("it is not a JSON object");
      return [questionOf({ ...known?.(entry.question_id), ...entry }, name, index, images, imageName)];
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      onSkip({ name, reason: error.message });
      return [];
    }
  });
}

function questionOf(
  entry: Readonly<Record<string, unknown>>,
  name: string,
  index: number,
  images: string,
  imageName: string | undefined,
): Question {
  const category = entry.category ?? entry.answer_type ?? entry.question_type;
  const about = typeof category === "string" ? { category } : {};
  if (entry.conversations !== undefined) {
    const { turns, image } = instructionOf(entry, index, images);
    const told = spoken(turns);
    if (!told) throw new FileError("it has no question with an answer");
    return { name, ...told, ...about, ...(image !== undefined && { image }) };
  }
  const text = entry.text ?? entry.question;
  if (typeof text !== "string" || text === "") throw new FileError('it has no "text" or "question"');
  requireWellFormed(text);
  const image = pictureOf(entry, images, imageName);
  return { name, text, answers: answersOf(entry), ...about, ...(image !== undefined && { image }) };
}

/** The first question of a conversation and its answer; undefined if there is none. */
export function spoken(
  turns: readonly { readonly role: string; readonly text: string }[],
): Pick<Question, "text" | "answers"> | undefined {
  const [question, answer] = ["user", "assistant"].map((role) => turns.find((turn) => turn.role === role)?.text);
  if (question === undefined || answer === undefined) return undefined;
  return { text: question.replace(/\n?<image>\n?/, ""), answers: [answer.trim()] };
}

function pictureOf(
  { image, image_id: id }: Readonly<Record<string, unknown>>,
  folder: string,
  imageName: string | undefined,
): string | undefined {
  if (image === undefined && id === undefined) return undefined;
  const name = typeof image === "string" ? image : numbered(id ?? image, imageName);
  const path = insideFolder(folder, name);
  if (path !== undefined) return path;
  throw new FileError(`its image ${shown(name)} is not a path inside the image folder`);
}

/** The image name for an id. Throws UsageError when no pattern is given. */
function numbered(id: unknown, pattern: string | undefined): string {
  if (typeof id !== "string" && typeof id !== "number")
    throw new FileError(`its image ${shown(id)} is not a string or number`);
  if (pattern !== undefined) return pattern.replace(/\{(\d*)\}/, (_, width) => String(id).padStart(Number(width), "0"));
  throw new UsageError(
    `questions give image ids, such as ${shown(id)}, instead of file names: give the pattern of file names (--image-name), such as COCO_val2014_{12}.jpg or {}.jpg`,
  );
}

function answersOf({ answers, answer, label }: Readonly<Record<string, unknown>>): readonly string[] {
  const given = answers ?? answer ?? label;
  const list = (Array.isArray(given) ? given : [given]).map((one) => (isRecord(one) ? one.answer : one));
  const texts = list.flatMap((one) => (typeof one === "string" || typeof one === "number" ? [String(one)] : []));
  if (texts.length > 0 && texts.length === list.length) return texts;
  throw new FileError('it has no "label", "answer" or "answers"');
}

/** Records, or the lines of a file with one record per line. */
async function recordsOf(path: string, names: readonly string[]): Promise<readonly unknown[]> {
  const value = path.toLowerCase().endsWith(".jsonl")
    ? undefined
    : await readJson(path, "list of questions").catch(orLines);
  if (value === undefined) return await linesOf(path);
  const list = isRecord(value) ? names.map((name) => value[name]).find(Array.isArray) : value;
  if (Array.isArray(list)) return list;
  if (isRecord(value) && names.every((name) => value[name] === undefined)) return [value]; // a record on the only line
  throw new FileError(`"${path}" must be an array of questions, or an object with one as ${names.join(" or ")}`);
}

/** POPE's files end in .json but have one record per line: if the whole file is not JSON, its lines may be. */
function orLines(error: unknown): undefined {
  if (error instanceof FileError && error.cause instanceof SyntaxError) return undefined;
  throw error;
}

/** The lines of a file. FileError when the first is not a record. */
async function linesOf(path: string): Promise<readonly string[]> {
  await requirePath(path, "file", "list of questions");
  const lines = decodeUtf8(await readFile(path), path)
    .split("\n")
    .filter((line) => line.trim() !== "");
  if (lines[0]?.trimStart().startsWith("{")) return lines;
  throw new FileError(`"${path}" is neither an array of questions nor JSON Lines`);
}

/**
 * VQA's annotations: { "annotations": [{ "question_id", "answers": [{ "answer" }], "answer_type" }] }. Throws FileError
 * for a record without an id, or a second one of an id; and when asked for the answers of no id.
 */
async function answersById(path: string): Promise<(id: unknown) => Readonly<Record<string, unknown>> | undefined> {
  const records = await recordsOf(path, ["annotations", "data"]);
  const byId = new Map<string, Readonly<Record<string, unknown>>>();
  for (const [index, record] of records.entries()) {
    const entry = typeof record === "string" ? parseRecord(record) : record;
    const id = isRecord(entry) ? entry.question_id : undefined;
    if (id === undefined) throw new FileError(`${path}[${index}] has no "question_id"`);
    if (byId.has(String(id))) throw new FileError(`${path}[${index}] is a second record of question_id ${shown(id)}`);
    byId.set(String(id), entry as Readonly<Record<string, unknown>>);
  }
  return (id) => {
    if (id === undefined) throw new FileError('it has no "question_id" to find its answers by');
    return byId.get(String(id));
  };
}

/**
 * MME's questions: a folder per sub-task, in which a.txt (or questions_answers_YN/a.txt) has a question, a tab and the
 * answer on each line, about a.jpg (or images/a.jpg). The category is the sub-task. FileError when none of the
 * requested sub-tasks exists.
 */
export async function readMme(folder: string, tasks: readonly string[], onSkip: OnSkip): Promise<readonly Question[]> {
  const there = await listFolder(folder, "MME folder");
  const own = tasks.filter((task) => there.includes(task));
  if (own.length === 0)
    throw new FileError(`"${folder}" contains no MME subtask (expected folders ${tasks.join(", ")})`);
  return (await Promise.all(own.map((task) => taskQuestions(join(folder, task), task, onSkip)))).flat();
}

async function taskQuestions(folder: string, category: string, onSkip: OnSkip): Promise<readonly Question[]> {
  const names = (await readdir(folder, { recursive: true })).sort();
  const pictures = new Map(
    names.filter((name) => imageExtensions.includes(extension(name))).map((name) => [stem(name), join(folder, name)]),
  );
  const questions: Question[] = [];
  for (const name of names.filter((one) => extension(one) === ".txt")) {
    const path = join(folder, name);
    try {
      const image = pictures.get(stem(name));
      if (image === undefined) throw new FileError("it has no image of the same name");
      const lines = decodeUtf8(await readFile(path), path)
        .split(/\r?\n/)
        .filter((line) => line.trim() !== "");
      if (lines.length === 0) throw new FileError("it has no questions");
      // All questions about an image or none: accuracy+ counts images.
      questions.push(...lines.map((line) => ({ name: path, image, ...yesNoOf(line), category })));
    } catch (error) {
      onSkip({ name: path, reason: error instanceof FileError ? error.message : reasonOf(error) });
    }
  }
  return questions;
}

function yesNoOf(line: string): Pick<Question, "text" | "answers"> {
  const [text, said, ...more] = line.split("\t");
  if (said === undefined || more.length > 0) throw new FileError("each line must be a question, a tab and an answer");
  const answer = said.trim();
  if (!/^(yes|no)$/i.test(answer)) throw new FileError(`the answer ${shown(answer)} is neither yes nor no`);
  return { text: text!, answers: [answer] };
}

const base = (path: string): string => path.split(/[\\/]/).at(-1)!;
const extension = (path: string): string => /\.[^.]+$/.exec(base(path))?.[0].toLowerCase() ?? "";
const stem = (path: string): string => base(path).replace(/\.[^.]+$/, "");
