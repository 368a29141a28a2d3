/** Reacts to edits: compiles the module and checks its types, each without waiting for the other. */
import type { CompilePane, Fault } from "./compile-pane/compile-pane.ts";
import type { Editor } from "./editor/editor.ts";
import { erased } from "./editor/erase-types.ts";
import type { LanguageService, Mistake } from "./editor/language-worker.ts";
import type { CompileService } from "./machine/compile-worker.ts";
import type { Code } from "./machine/user-module.ts";
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
 * Milliseconds without a keystroke before the text is compiled, and of running before a module is considered endless.
 */
const [pause, patience] = [250, 20_000] as const;

/** Milliseconds for which the first compilation waits for the device: a browser may take long, or never answer. */
const deviceWait = 10_000;

/** What is known of the editor's present text. */
interface Turn {
  readonly text: string;
  mistakes?: readonly Mistake[];
  /** Why it was not compiled. */
  failure?: Fault;
  /** Whether its types were checked, and it was compiled, with or without success. */
  isChecked?: boolean;
  isTried?: boolean;
}

export function follow({ editor, language, ready, compile, run, worker, status }: FollowOptions): Following {
  let compiler = client<CompileService>(worker);
  let timer = 0;
  let turn: Turn = { text: "" };
  let isReady = false;
  ready.catch(() => {}); // said where types are checked
  const late = new Promise<undefined>((resolve) => void window.setTimeout(resolve, deviceWait));
  const deviceByNow = () => Promise.race([run.opened, late]);
  // What was compiled without a device is compiled again for one that comes later.
  void deviceByNow().then(async (known) => known === undefined && (await run.opened) !== undefined && changed());

  function begin(): void {
    clearTimeout(timer);
    const own: Turn = (turn = { text: editor.text() });
    void made(own, check(own));
  }

  /** Checks types. Without the language service the model is compiled all the same. */
  async function check(own: Turn): Promise<void> {
    say(isReady ? "checking types …" : "loading the type checker …");
    try {
      await ready;
      isReady = true;
      if (own !== turn) return;
      say("checking types …");
      const mistakes = await language.call.mistakes(own.text);
      if (own !== turn) return;
      own.mistakes = mistakes;
      const { length } = errorsOf(own);
      say(length === 0 ? "no errors" : `${length} ${length === 1 ? "error" : "errors"}`, length > 0);
    } catch (error) {
      if (own === turn) say(`types are not checked: ${(error as Error).message}`, true);
    }
    own.isChecked = true;
    show(own);
  }

  async function made(own: Turn, checked: Promise<void>): Promise<void> {
    let guard = 0;
    try {
      const code = erased(own.text) ?? (await transpiled(own, checked));
      if (own !== turn) return;
      if (!code) return compile.stale();
      compile.busy("compiling …");
      const device = await deviceByNow();
      guard = window.setTimeout(() => restart(own), patience);
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
      const { name, message } = error as Error;
      own.failure ??= { title: name === "Error" ? "Not compiled" : name, text: message };
      if (own === turn) compile.stale();
    } finally {
      clearTimeout(guard);
      own.isTried = true;
      if (own === turn) compile.busy("");
      show(own);
    }
  }

  /** The module's code where types alone cannot be erased: none if it has errors, which TypeScript then explains. */
  async function transpiled(own: Turn, checked: Promise<void>): Promise<Code | undefined> {
    compile.busy(isReady ? "checking types …" : "loading the type checker …");
    await checked;
    return own !== turn || errorsOf(own).length > 0 ? undefined : await language.call.code(own.text);
  }

  /** Stops a module that does not terminate, by terminating its worker. */
  function restart(own: Turn): void {
    const text = `The module did not finish within ${patience / 1000} seconds. Edit it to try again.`;
    own.failure = { title: "Stopped", text };
    compiler.dispose();
    compiler = client<CompileService>(worker);
    if (own !== turn) begin(); // the newer text waited for the worker
  }

  /** Shows what is wrong with the text: in the editor at once, in the pane as a whole, so that nothing flickers. */
  function show(own: Turn): void {
    if (own !== turn) return;
    const { text, mistakes = [], failure, isChecked, isTried } = own;
    editor.show([...mistakes, ...(failure ? placeOf(failure.text, text) : [])]);
    if (!isTried || (isReady && !isChecked)) return;
    const errors = errorsOf(own);
    const types = errors.length > 0 ? [{ title: "Type errors", text: told(errors, text) }] : [];
    compile.faults([...(failure ? [failure] : []), ...types]);
  }

  function say(text: string, isBad = false): void {
    status.textContent = text;
    status.title = text;
    status.classList.toggle("bad", isBad);
  }

  function changed(): void {
    turn = { text: "" };
    clearTimeout(timer);
    timer = window.setTimeout(begin, pause);
  }

  return { changed };
}

const errorsOf = ({ mistakes = [] }: Turn): Mistake[] => mistakes.filter(({ severity }) => severity === "error");

/** The position in the editor that an error's message names, if it does. */
function placeOf(message: string, text: string): Mistake[] {
  const place = new RegExp(`${modelFile}:(\\d+):(\\d+)`).exec(message);
  if (!place) return [];
  const from = offsetOf(text, Number(place[1]), Number(place[2]));
  const length = /^[\w.$]+/.exec(text.slice(from))?.[0].length ?? 1;
  return [{ from, to: from + length, message, severity: "error" }];
}

const offsetOf = (text: string, line: number, column: number): number =>
  text
    .split("\n")
    .slice(0, line - 1)
    .reduce((n, l) => n + l.length + 1, 0) +
  column -
  1;

/** Errors shown in the compile pane; the editor underlines all. */
const mostTold = 6;

/** The first errors with their lines. */
function told(mistakes: readonly Mistake[], text: string): string {
  const lines = mistakes.map(({ from, message }) => `line ${text.slice(0, from).split("\n").length}: ${message}`);
  const more = lines.length - mostTold;
  return [...lines.slice(0, mostTold), ...(more > 0 ? [`and ${more} more, underlined in the editor`] : [])].join(
    "\n\n",
  );
}
