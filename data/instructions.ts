/** LLaVA-style instruction data: conversations about images in a folder. */
import { FileError, shown } from "../compiler/index.ts";
import { insideFolder, isRecord, reasonOf, requireWellFormed } from "./files.ts";

/** One turn; files name the roles "human" and "gpt". */
export interface Turn {
  readonly role: "system" | "user" | "assistant";
  readonly text: string;
}

/** A conversation, with the path of its image if it has one. `<image>` in a user's text marks the image's place. */
export interface Instruction {
  readonly id: string;
  readonly image?: string;
  readonly turns: readonly Turn[];
}

const roles: Readonly<Record<string, Turn["role"]>> = {
  system: "system",
  human: "user",
  user: "user",
  gpt: "assistant",
  assistant: "assistant",
};

/** Parses the conversation in a record; FileError when it is malformed. */
export function instructionOf(
  entry: Readonly<Record<string, unknown>>,
  index: number,
  imageFolder: string,
): Instruction {
  const { id, image, conversations } = entry;
  const turns = turnsOf(conversations);
  const name = typeof id === "string" || typeof id === "number" ? String(id) : String(index);
  if (image === undefined || image === null) return { id: name, turns };
  const path = typeof image === "string" ? insideFolder(imageFolder, image) : undefined;
  if (!path) throw new FileError(`its image ${shown(image)} is not a path inside the image folder`);
  return { id: name, image: path, turns };
}

/** The place of an image in the text of a user's turn. */
const place = /<image>/g;

/** Throws FileError for turns with places for other images than the one that a conversation has, or has not. */
export function requirePlaces(turns: readonly Turn[], hasImage: boolean): void {
  const places = turns.flatMap(({ role, text }, i) => (role === "user" ? [...text.matchAll(place)].map(() => i) : []));
  if (!hasImage && places.length > 0) throw new FileError(`turn ${places[0]} has <image>, but there is no "image"`);
  if (places.length > 1) throw new FileError(`it has <image> ${places.length} times, but one image`);
}

function turnsOf(conversations: unknown): readonly Turn[] {
  if (!Array.isArray(conversations) || conversations.length === 0) throw new FileError('it has no "conversations"');
  return conversations.map((turn, i) => {
    const from = isRecord(turn) && typeof turn.from === "string" ? turn.from : "";
    const role = Object.hasOwn(roles, from) ? roles[from] : undefined;
    if (!isRecord(turn) || !role)
      throw new FileError(`"from" of turn ${i} must be one of ${Object.keys(roles).join(", ")}`);
    if (typeof turn.value !== "string") throw new FileError(`turn ${i} has no text in "value"`);
    requireWellFormed(turn.value);
    return { role, text: turn.value };
  });
}

/** Parses a text as a JSON object; FileError otherwise. */
export function parseRecord(text: string): Readonly<Record<string, unknown>> {
  const entry = parseJson(text);
  if (!isRecord(entry)) throw new FileError("it is not a JSON object");
  return entry;
}

function parseJson(text: string): unknown {
  const value = parsed(text);
  if (isDeeper(value, mostLevels)) throw new FileError(`it is nested more than ${mostLevels} levels deep`);
  return value;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const reason = reasonOf(cause);
    // What Python's json writes for numbers that JSON lacks.
    const hint = /[:,[]\s*-?(NaN|Infinity)\b/.test(text) ? ": JSON has no NaN and no Infinity" : "";
    throw new FileError(`it is not valid JSON: ${reason}${hint}`, { cause });
  }
}

/** Deeper nesting would overflow whatever recurses over it. */
const mostLevels = 100;

function isDeeper(value: unknown, most: number): boolean {
  let level = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > most) return true;
    level = level.flatMap((one) => (typeof one === "object" && one !== null ? Object.values(one) : []));
  }
  return false;
}
