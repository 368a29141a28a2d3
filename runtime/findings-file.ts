/** What tuning found, kept on disk between runs. */
import { dirname } from "node:path";
import type { Finding, Findings } from "../compiler/index.ts";
import { explainingFaults } from "./file-errors.ts";
import { errorCode, type FileSystem, nodeFileSystem } from "./file-system.ts";
import { makeFolder, readWhole, writeFileAtomically } from "./files.ts";

/** What findings are true of, by name: the adapter with its driver, and the versions of what makes its kernels. */
export type FindingsBasis = Readonly<Record<string, string>>;

export interface ReadFindings {
  readonly findings: Findings;
  /** Why there are none although there is a file, in a line. */
  readonly ignored?: string;
}

/** What the file holds; of another number it is of another version of heddle. */
interface Content {
  readonly format: 1;
  readonly basis: FindingsBasis;
  readonly findings: Readonly<Record<string, readonly Finding[]>>;
}

/** A finding takes some 100 bytes. */
const mostBytes = 64 * 2 ** 20;

/** Reads what was found on this basis. A file that is damaged, or of another basis, is passed over with a reason. */
export async function readFindings(
  path: string,
  basis: FindingsBasis,
  fs: FileSystem = nodeFileSystem,
): Promise<ReadFindings> {
  const none: Findings = new Map();
  const again = "heddle tune finds them anew";
  let content: Content;
  try {
    content = parse(new TextDecoder().decode(await readWhole(fs, path, mostBytes)));
  } catch (error) {
    if (errorCode((error as Error).cause ?? error) === "ENOENT") return { findings: none };
    const [reason = ""] = (error as Error).message.split("\n");
    return { findings: none, ignored: `findings in ${path} are ignored: ${reason}; ${again}` };
  }
  const other = Object.keys({ ...content.basis, ...basis }).find((key) => content.basis[key] !== basis[key]);
  if (other === undefined) return { findings: new Map(Object.entries(content.findings)) };
  const was = `${other} was "${content.basis[other] ?? "not told"}" and is "${basis[other] ?? "not told"}"`;
  return { findings: none, ignored: `findings in ${path} are ignored: ${was}; ${again}` };
}

/** Writes findings, replacing what is there whole. Throws FileError where that cannot be done. */
export async function writeFindings(path: string, basis: FindingsBasis, findings: Findings): Promise<void> {
  const content: Content = { format: 1, basis, findings: Object.fromEntries(findings) };
  await explainingFaults("write", path, () => makeFolder(dirname(path)));
  await writeFileAtomically(path, `${JSON.stringify(content, null, 1)}\n`);
}

function parse(text: string): Content {
  const content: unknown = JSON.parse(text);
  if (!isRecord(content)) throw new TypeError("it is no record");
  const { format, basis, findings } = content;
  if (format !== 1) throw new TypeError(`its format is ${JSON.stringify(format)}, not 1`);
  if (!isRecord(basis) || !Object.values(basis).every((v) => typeof v === "string"))
    throw new TypeError("it does not say what its findings are true of");
  if (!isRecord(findings) || !Object.values(findings).every((all) => Array.isArray(all) && all.every(isFinding)))
    throw new TypeError("what it holds are no findings");
  return content as unknown as Content;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const areNumbers = (value: unknown): boolean =>
  isRecord(value) && Object.values(value).every((n) => typeof n === "number" && Number.isFinite(n));

const isFinding = (value: unknown): boolean =>
  isRecord(value) && typeof value.schedule === "string" && areNumbers(value.settings) && areNumbers(value.sizes);
