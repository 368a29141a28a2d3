/** LLaVA-style instruction data: a JSON array of conversations about pictures of one folder. */
import { FileError } from "../compiler/index.ts";
import { insideFolder, isRecord, type OnSkip, orSkip, reasonOf, requirePath } from "./files.ts";
import { jsonElements } from "./json-elements.ts";

/** One utterance; the files call the roles "human" and "gpt". */
export interface Turn {
  readonly role: "system" | "user" | "assistant";
  readonly text: string;
}

/** A conversation, with the path of its picture where it has one. `<image>` in a user's text marks the picture's place. */
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

/**
 * Streams the conversations of a file, holding one at a time, so a file of gigabytes needs little memory.
 * An entry that is malformed, or whose picture lies outside `imageFolder`, goes to `onSkip`; so does the end of a file
 * that was cut off. FileError when the file or folder is missing or the file is no JSON array.
 */
export async function* readInstructions(
  file: string,
  imageFolder: string,
  options: { readonly onSkip: OnSkip },
): AsyncGenerator<Instruction, void, undefined> {
  await requirePath(file, "file", "instruction file");
  await requirePath(imageFolder, "folder", "image folder");
  let index = 0;
  for await (const element of jsonElements(file, options.onSkip)) {
    const name = `${file}[${index}]`;
    const instruction = await orSkip(parse(element, index, imageFolder), name, options.onSkip);
    index += 1;
    if (instruction) yield instruction;
  }
}

async function parse(element: string, index: number, imageFolder: string): Promise<Instruction> {
  const entry = parseJson(element);
  if (!isRecord(entry)) throw new FileError("it is not a record");
  const { id, image, conversations } = entry;
  const turns = turnsOf(conversations);
  const name = typeof id === "string" || typeof id === "number" ? String(id) : String(index);
  if (image === undefined || image === null) return { id: name, turns };
  const path = typeof image === "string" ? insideFolder(imageFolder, image) : undefined;
  if (!path) throw new FileError(`its image ${JSON.stringify(image)} is not a path inside the image folder`);
  return { id: name, image: path, turns };
}

function turnsOf(conversations: unknown): readonly Turn[] {
  if (!Array.isArray(conversations) || conversations.length === 0) throw new FileError('it has no "conversations"');
  return conversations.map((turn, i) => {
    const from = isRecord(turn) && typeof turn.from === "string" ? turn.from : "";
    const role = Object.hasOwn(roles, from) ? roles[from] : undefined;
    if (!isRecord(turn) || !role) throw new FileError(`turn ${i} is not from one of ${Object.keys(roles).join(", ")}`);
    if (typeof turn.value !== "string") throw new FileError(`turn ${i} has no text in "value"`);
    return { role, text: turn.value };
  });
}

function parseJson(element: string): unknown {
  try {
    return JSON.parse(element);
  } catch (cause) {
    throw new FileError(`it is malformed: ${reasonOf(cause)}`, { cause });
  }
}
