/**
 * The editor's worker: type-checks the module, provides completions and hover information, and transpiles it to
 * JavaScript.
 */
import ts from "typescript-js";
import type { Code } from "../machine/user-module.ts";
import { serve } from "../shell/rpc.ts";
import { type Language, modelPath, openLanguage } from "./language-host.ts";

/** A diagnostic, as a range of offsets. */
export interface Mistake {
  readonly from: number;
  readonly to: number;
  readonly message: string;
  readonly severity: "error" | "warning";
}

export interface Completion {
  readonly label: string;
  readonly kind: string;
}

export interface Completions {
  /** Where the completed word begins. */
  readonly from: number;
  readonly options: readonly Completion[];
}

export interface Explanation {
  readonly from: number;
  readonly to: number;
  /** The type, as code. */
  readonly code: string;
  readonly text: string;
}

/** `typeof import("heddle")`, not the file that stands for it here. */
const withPackages = (message: string): string =>
  message
    .replaceAll('import("/heddle/dsl/index")', 'import("heddle")')
    .replaceAll('import("/heddle/models/index")', 'import("heddle/models")');

let language: Promise<Language> | undefined;

async function written(text: string): Promise<ts.LanguageService> {
  const { service, write } = await language!;
  write(text);
  return service;
}

const service = {
  /** Loads the declarations from a URL. */
  open: async (declarations: string): Promise<void> => {
    language = fetch(declarations).then(async (response) => {
      if (!response.ok) throw new Error(`cannot load ${declarations}: HTTP ${response.status}`);
      return openLanguage((await response.json()) as Record<string, string>);
    });
    await language;
  },
  mistakes: async (text: string): Promise<readonly Mistake[]> => {
    const checked = await written(text);
    const found = [...checked.getSyntacticDiagnostics(modelPath), ...checked.getSemanticDiagnostics(modelPath)];
    return found.map(({ start = 0, length = 1, messageText, category }) => ({
      from: start,
      to: start + Math.max(1, length),
      message: withPackages(ts.flattenDiagnosticMessageText(messageText, "\n")),
      severity: category === ts.DiagnosticCategory.Error ? "error" : "warning",
    }));
  },
  /** The module as JavaScript, with its source map: for the few whose types cannot be erased by `erased`. */
  code: (text: string): Code => {
    const { outputText, sourceMapText } = ts.transpileModule(text, {
      compilerOptions: {
        target: ts.ScriptTarget.ESNext,
        module: ts.ModuleKind.ESNext,
        sourceMap: true,
        isolatedModules: true,
      },
      fileName: "model.ts",
    });
    const js = outputText.replace(/^\/\/# sourceMappingURL=.*$/m, "");
    const { mappings } = JSON.parse(sourceMapText!) as { mappings: string };
    const imports = ts
      .preProcessFile(js)
      .importedFiles.map(({ fileName, pos, end }) => ({ name: fileName, from: pos, to: end }));
    return { source: text, js, mappings, imports };
  },
  completions: async (text: string, at: number): Promise<Completions | undefined> => {
    const found = (await written(text)).getCompletionsAtPosition(modelPath, at, {
      includeCompletionsForModuleExports: false,
    });
    if (!found) return undefined;
    const before = /[\w$]*$/.exec(text.slice(0, at))![0].length;
    const from = found.optionalReplacementSpan?.start ?? at - before;
    return { from, options: found.entries.slice(0, 400).map(({ name, kind }) => ({ label: name, kind })) };
  },
  /** The documentation of a completion. */
  detail: async (text: string, at: number, name: string): Promise<string> => {
    const found = (await written(text)).getCompletionEntryDetails(modelPath, at, name, {}, undefined, {}, undefined);
    if (!found) return "";
    const documentation = ts.displayPartsToString(found.documentation);
    return [ts.displayPartsToString(found.displayParts), documentation].filter((t) => t !== "").join("\n\n");
  },
  explain: async (text: string, at: number): Promise<Explanation | undefined> => {
    const found = (await written(text)).getQuickInfoAtPosition(modelPath, at);
    if (!found) return undefined;
    const { start, length } = found.textSpan;
    return {
      from: start,
      to: start + length,
      code: ts.displayPartsToString(found.displayParts),
      text: ts.displayPartsToString(found.documentation),
    };
  },
};

export type LanguageService = typeof service;

serve(service);
