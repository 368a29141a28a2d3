/** `heddle init`: creates a project. */
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { basename, join, relative, resolve } from "node:path";
import { heddleVersion } from "../../api/node-index.ts";
import { FileError } from "../../compiler/index.ts";
import { makeFolder, writeFileAtomically } from "../../runtime/index.ts";
import { projectFiles } from "../init/files.ts";
import { json } from "../output.ts";

/** The TypeScript version of new projects. */
const typescript = "7.0.2";

/**
 * Writes the files of a project into a folder. Throws FileError naming all that exist already, and then writes none.
 */
export async function initCommand(folder: string, args: { readonly json: boolean }): Promise<number> {
  const root = resolve(folder);
  const files = projectFiles(packageName(basename(root)), { heddle: heddleVersion(), typescript });
  const there = Object.keys(files).filter((path) => existsSync(join(root, path)));
  if (there.length > 0)
    throw new FileError(`"${folder}" already has ${there.join(", ")}: choose another folder, such as a new one`);
  await makeFolder(root);
  await writeAll(root, files);
  const here = relative(process.cwd(), root);
  const text = [
    `created ${Object.keys(files).join(", ")} in ${root}`,
    "next:",
    ...(here === "" ? [] : [`  cd ${here}`]),
    "  npm install",
    "  npm run check && npm run train && npm run export",
  ];
  process.stdout.write(args.json ? `${json({ folder: root, files: Object.keys(files) })}\n` : `${text.join("\n")}\n`);
  return 0;
}

/** Writes all files; if one cannot be written, those before it are removed, so that the command can be repeated. */
async function writeAll(root: string, files: Readonly<Record<string, string>>): Promise<void> {
  const written: string[] = [];
  try {
    for (const [path, content] of Object.entries(files)) {
      await writeFileAtomically(join(root, path), content);
      written.push(join(root, path));
    }
  } catch (error) {
    await Promise.all(written.map((path) => rm(path, { force: true })));
    throw error;
  }
}

/** A folder's name as a valid npm package name: lower case, without characters that a URL would escape. */
const packageName = (name: string): string =>
  name
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, "-")
    .replace(/^[._-]+/, "") || "spirals";
