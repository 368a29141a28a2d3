/** Reacts to edits: diagnostics first, then compilation, then the model to train. */
import type { CompilePane } from "./compile-pane/compile-pane.ts";
import type { Editor } from "./editor/editor.ts";
import type { LanguageService, Mistake } from "./editor/language-worker.ts";
import type { CompileService } from "./machine/compile-worker.ts";
import { modelFile } from "./machine/user-module-name.ts";
import type { RunPane } from "./run-pane/run-pane.ts";
import { type Client, client } from "./shell/rpc.ts";

export interface Following {
  /** Called when the text or the subject to compile has changed. */
  readonly changed: () => void;
}

export interface FollowOptions {
  readonly editor: Editor;
  readonly language: Client<LanguageService>;
  /** Resolves when the language service has its declarations. */
  readonly ready: Promise<void>;
  readonly compile: CompilePane;
  readonly run: RunPane;
  /** The URL of the compile worker. */
  readonly worker: string;
  readonly status: HTMLElement;
}

/**
 * Milliseconds without a keystroke before the text is checked, and of running before a module is considered endless.
 */
const [pause, patience] = [250, 20_000] as const;

export function follow({ editor, language, ready, compile, run, worker, status }: FollowOptions): Following {
  let compiler = client<CompileService>(worker);
  let timer = 0;
  let turn = 0;
  let isReady = false;

  async function look(own: number): Promise<void> {
    compile.busy(isReady ? "checking types …" : "loading the type checker …");
    await ready;
    isReady = true;
    if (own !== turn) return;
    compile.busy("checking types …");
    const text = editor.text();
    const mistakes = await language.call.mistakes(text);
    if (own !== turn) return;
    editor.show(mistakes);
    const wrong = mistakes.filter(({ severity }) => severity === "error");
    status.textContent =
      wrong.length === 0 ? "no errors" : `${wrong.length} ${wrong.length === 1 ? "error" : "errors"}`;
    status.classList.toggle("bad", wrong.length > 0);
    if (wrong.length > 0) return compile.fail("Not compiled: type errors", told(wrong, text));
    await made(text, own);
  }

  async function made(text: string, own: number): Promise<void> {
    compile.busy("compiling …");
    const guard = setTimeout(restart, patience);
    try {
      const [code, device] = [await language.call.code(text), await run.opened];
      const model = await compiler.call.load(code);
      if (own !== turn) return;
      const { subject, batch } = compile.subject();
      const known = subject.kind === "graph" || model.stages.some(({ name }) => name === subject.name);
      const about = await compiler.call.compile(known ? subject : { kind: "graph" }, {
        batch,
        precision: "f32",
        ...(device && { facts: device.facts }),
      });
      if (own !== turn) return;
      compile.show(model, about, compiler);
      run.show(code, model);
    } catch (error) {
      if (own === turn) failed(error as Error, text);
    } finally {
      clearTimeout(guard);
    }
  }

  /** Stops a module that does not terminate, by terminating its worker. */
  function restart(): void {
    compiler.dispose();
    compiler = client<CompileService>(worker);
    compile.fail("Stopped", `The module did not finish within ${patience / 1000} seconds. Edit it to try again.`);
  }

  /** Shows an error, also at the editor position that it names. */
  function failed({ name, message }: Error, text: string): void {
    compile.fail(name === "Error" ? "Not compiled" : name, message);
    const place = new RegExp(`${modelFile}:(\\d+):(\\d+)`).exec(message);
    if (!place) return;
    const from = offsetOf(text, Number(place[1]), Number(place[2]));
    const length = /^[\w.$]+/.exec(text.slice(from))?.[0].length ?? 1;
    editor.show([{ from, to: from + length, message, severity: "error" }]);
  }

  return {
    changed: () => {
      turn += 1;
      const own = turn;
      clearTimeout(timer);
      timer = window.setTimeout(
        () => void look(own).catch((error: Error) => compile.fail(error.name, error.message)),
        pause,
      );
    },
  };
}

const offsetOf = (text: string, line: number, column: number): number =>
  text
    .split("\n")
    .slice(0, line - 1)
    .reduce((n, l) => n + l.length + 1, 0) +
  column -
  1;

/** The diagnostics with their lines. */
function told(mistakes: readonly Mistake[], text: string): string {
  const lines = mistakes.map(({ from, message }) => `line ${text.slice(0, from).split("\n").length}: ${message}`);
  return lines.slice(0, 6).join("\n\n");
}
