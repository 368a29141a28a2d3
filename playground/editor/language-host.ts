/**
 * TypeScript's language service over in-memory files: the user's module, heddle's declarations, TypeScript's library.
 */
import ts from "typescript-js";
import { modelFile } from "../machine/user-module-name.ts";

export const modelPath = `/${modelFile}`;

const options: ts.CompilerOptions = {
  target: ts.ScriptTarget.ESNext,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  lib: ["lib.esnext.d.ts"],
  strict: true,
  noUncheckedIndexedAccess: true,
  allowImportingTsExtensions: true,
  // As in a project: Node runs such modules too, and neither needs TypeScript for it.
  erasableSyntaxOnly: true,
  verbatimModuleSyntax: true,
  noEmit: true,
  skipLibCheck: true,
  types: [],
  paths: {
    heddle: ["/heddle/dsl/index.d.ts"],
    "heddle/models": ["/heddle/models/index.d.ts"],
  },
};

export interface Language {
  readonly service: ts.LanguageService;
  /** Replaces the text of the user's module. */
  readonly write: (text: string) => void;
}

/** `files` are texts by path, which never change. */
export function openLanguage(files: Readonly<Record<string, string>>): Language {
  let [text, version] = ["", 0];
  const read = (path: string): string | undefined => (path === modelPath ? text : files[path]);
  const folders = new Set(Object.keys(files).flatMap(foldersOf));
  const host: ts.LanguageServiceHost = {
    getCompilationSettings: () => options,
    getScriptFileNames: () => [modelPath],
    getScriptVersion: (path) => (path === modelPath ? String(version) : "0"),
    getScriptSnapshot: (path) => {
      const found = read(path);
      return found === undefined ? undefined : ts.ScriptSnapshot.fromString(found);
    },
    getCurrentDirectory: () => "/",
    getDefaultLibFileName: () => "/lib/lib.esnext.d.ts",
    fileExists: (path) => read(path) !== undefined,
    readFile: read,
    directoryExists: (path) => path === "/" || folders.has(path),
    getDirectories: () => [],
  };
  return {
    service: ts.createLanguageService(host),
    write: (next) => {
      if (next === text) return;
      text = next;
      version += 1;
    },
  };
}

function foldersOf(path: string): string[] {
  const parts = path.split("/").slice(1, -1);
  return parts.map((_, i) => `/${parts.slice(0, i + 1).join("/")}`);
}
