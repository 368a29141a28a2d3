/** Reacts to edits: compiles the module and checks its types, each without waiting for the other. */
import type { CompilePane, Fault } from "./compile-pane/compile-pane.ts";
import type { Editor } from "./editor/editor.ts";
import { erased } from "./editor/erase-types.ts";
import type { LanguageService, Mistake } from "./editor/language-worker.ts";
import { errorsAmong, placeOf, typeFaults } from "./faults.ts";
import type { CompileService } from "./machine/compile-worker.ts";
import type { Code } from "./machine/user-module.ts";
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

interface State extends FollowOptions {
  /** The present turn: what comes of an earlier one is dropped. */
  turn: Turn;
  compiler: Client<CompileService>;
  /** Begins the next turn. */
  timer: number;
  /** Whether the language service has its declarations. */
  isReady: boolean;
  /** The device, or undefined if there is none, or none yet after waiting for it. */
  readonly deviceByNow: () => RunPane["opened"];
}

export function follow(options: FollowOptions): Following {
  const { ready, run, worker } = options;
  ready.catch(() => {}); // said where types are checked
  const late = new Promise<undefined>((resolve) => void window.setTimeout(resolve, deviceWait));
  const deviceByNow = () => Promise.race([run.opened, late]);
  const compiler = client<CompileService>(worker);
  const state: State = { ...options, turn: { text: "" }, compiler, timer: 0, isReady: false, deviceByNow };
  // What was compiled without a device is compiled again for one that comes later.
  void deviceByNow().then(async (known) => known === undefined && (await run.opened) !== undefined && changed(state));
  return { changed: () => changed(state) };
}

function changed(state: State): void {
  state.turn = { text: "" };
  clearTimeout(state.timer);
  state.timer = window.setTimeout(() => begin(state), pause);
}

function begin(state: State): void {
  clearTimeout(state.timer);
  const own: Turn = { text: state.editor.text() };
  state.turn = own;
  void tryToCompile(state, own, check(state, own));
}

/** Checks types. Without the language service the model is compiled all the same. */
async function check(state: State, own: Turn): Promise<void> {
  say(state, state.isReady ? "checking types …" : "loading the type checker …");
  try {
    await state.ready;
    state.isReady = true;
    if (own !== state.turn) return;
    say(state, "checking types …");
    const mistakes = await state.language.call.mistakes(own.text);
    if (own !== state.turn) return;
    own.mistakes = mistakes;
    const { length } = errorsAmong(mistakes);
    say(state, length === 0 ? "no errors" : `${length} ${length === 1 ? "error" : "errors"}`, length > 0);
  } catch (error) {
    if (own === state.turn) say(state, `types are not checked: ${(error as Error).message}`, true);
  }
  own.isChecked = true;
  show(state, own);
}

async function tryToCompile(state: State, own: Turn, checked: Promise<void>): Promise<void> {
  try {
    const code = erased(own.text) ?? (await transpiled(state, own, checked));
    if (own !== state.turn) return;
    if (code) await compile(state, own, code);
    else state.compile.stale();
  } catch (error) {
    const { name, message } = error as Error;
    own.failure ??= { title: name === "Error" ? "Not compiled" : name, text: message };
    if (own === state.turn) state.compile.stale();
  } finally {
    own.isTried = true;
    if (own === state.turn) state.compile.busy("");
    show(state, own);
  }
}

/** The module's code where types alone cannot be erased: none if it has errors, which TypeScript then explains. */
async function transpiled(state: State, own: Turn, checked: Promise<void>): Promise<Code | undefined> {
  state.compile.busy(state.isReady ? "checking types …" : "loading the type checker …");
  await checked;
  if (own !== state.turn || errorsAmong(own.mistakes ?? []).length > 0) return undefined;
  return await state.language.call.code(own.text);
}

/** Compiles the turn's code and shows the result, unless a newer turn has begun. */
async function compile(state: State, own: Turn, code: Code): Promise<void> {
  state.compile.busy("compiling …");
  const device = await state.deviceByNow();
  const guard = window.setTimeout(() => restart(state, own), patience);
  try {
    const { compiler } = state;
    const model = await compiler.call.load(code);
    if (own !== state.turn) return;
    const { subject, batch } = state.compile.subject();
    const isThere = subject.kind === "graph" || model.stages.some(({ name }) => name === subject.name);
    const facts = device && { facts: device.facts };
    const options = { batch, precision: "f32", ...facts } as const;
    const about = await compiler.call.compile(isThere ? subject : { kind: "graph" }, options);
    if (own !== state.turn) return;
    state.compile.show(model, about, compiler);
    state.run.show(code, model);
  } finally {
    clearTimeout(guard);
  }
}

/** Stops a module that does not terminate, by terminating its worker. */
function restart(state: State, own: Turn): void {
  const text = `The module did not finish within ${patience / 1000} seconds. Edit it to try again.`;
  own.failure = { title: "Stopped", text };
  state.compiler.dispose();
  state.compiler = client<CompileService>(state.worker);
  if (own !== state.turn) begin(state); // the newer text waited for the worker
}

/** Shows what is wrong with the text: in the editor at once, in the pane as a whole, so that nothing flickers. */
function show(state: State, own: Turn): void {
  if (own !== state.turn) return;
  const { text, mistakes = [], failure, isChecked, isTried } = own;
  state.editor.show([...mistakes, ...(failure ? placeOf(failure.text, text) : [])]);
  if (!isTried || (state.isReady && !isChecked)) return;
  state.compile.faults([...(failure ? [failure] : []), ...typeFaults(mistakes, text)]);
}

function say({ status }: State, text: string, isBad = false): void {
  status.textContent = text;
  status.title = text;
  status.classList.toggle("bad", isBad);
}
