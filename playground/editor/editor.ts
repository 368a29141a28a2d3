/** The editor: CodeMirror with the language service's diagnostics, and lines marked by other panes. */
import {
  autocompletion,
  type CompletionContext,
  closeBrackets,
  closeBracketsKeymap,
  completionKeymap,
} from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { javascript } from "@codemirror/lang-javascript";
import { bracketMatching, foldGutter, foldKeymap, indentOnInput, syntaxHighlighting } from "@codemirror/language";
import { type Diagnostic, lintGutter, lintKeymap, setDiagnostics } from "@codemirror/lint";
import { EditorState, type Extension } from "@codemirror/state";
import {
  drawSelection,
  EditorView,
  highlightActiveLine,
  highlightActiveLineGutter,
  hoverTooltip,
  keymap,
  lineNumbers,
} from "@codemirror/view";
import { element } from "../shell/element.ts";
import type { Client } from "../shell/rpc.ts";
import type { LanguageService } from "./language-worker.ts";
import { pointedLines, pointLines } from "./pointed-lines.ts";
import { highlightStyle, theme } from "./theme.ts";

export interface Editor {
  readonly text: () => string;
  readonly setText: (text: string) => void;
  /** Underlines diagnostics. */
  readonly show: (mistakes: readonly Diagnostic[]) => void;
  /** Marks lines, from 1, that another pane links to; with `isShown`, scrolls to the first. */
  readonly point: (lines: readonly number[], isShown?: boolean) => void;
  /** Puts the cursor at the beginning of a line, from 1; with `isFocused`, the keyboard's focus too. */
  readonly goTo: (line: number, isFocused: boolean) => void;
}

export interface EditorOptions {
  readonly parent: HTMLElement;
  readonly text: string;
  readonly language: Client<LanguageService>;
  readonly onChange: (text: string) => void;
  /** Called when the cursor moves to another line. */
  readonly onLine: (line: number) => void;
}

export function openEditor(options: EditorOptions): Editor {
  const { parent, text: doc } = options;
  // In a shadow tree CodeMirror uses constructed style sheets instead of a <style> element, which the page's policy
  // forbids.
  const root = parent.attachShadow({ mode: "open" });
  const state = EditorState.create({ doc, extensions: extensions(options) });
  // Directly in the root, so that its height is that of the pane, and it scrolls.
  const view = new EditorView({ root, parent: root, state });
  return {
    text: () => view.state.doc.toString(),
    setText: (next) =>
      view.dispatch({
        changes: { from: 0, to: view.state.doc.length, insert: next },
        selection: { anchor: 0 },
        effects: EditorView.scrollIntoView(0, { y: "start", x: "start", xMargin: 1000 }),
      }),
    show: (mistakes) => view.dispatch(setDiagnostics(view.state, within(mistakes, view.state.doc.length))),
    point: (lines, isShown = false) => pointLines(view, lines, isShown),
    goTo: (line, isFocused) => goTo(view, line, isFocused),
  };
}

const extensions = ({ language, onChange, onLine }: EditorOptions): Extension[] => [
  lineNumbers(),
  highlightActiveLineGutter(),
  history(),
  foldGutter(),
  drawSelection(),
  indentOnInput(),
  bracketMatching(),
  closeBrackets(),
  highlightActiveLine(),
  lintGutter(),
  pointedLines,
  javascript({ typescript: true }),
  syntaxHighlighting(highlightStyle),
  theme,
  EditorState.tabSize.of(2),
  autocompletion({ override: [(context) => complete(language, context)] }),
  hoverTooltip((of, at) => explain(language, of, at), { hoverTime: 350 }),
  keys,
  EditorView.contentAttributes.of({
    "aria-label": "The model, in TypeScript. Escape, then Tab leaves the editor.",
  }),
  changesTo(onChange, onLine),
];

const keys = keymap.of([
  ...closeBracketsKeymap,
  ...defaultKeymap,
  ...historyKeymap,
  ...foldKeymap,
  ...completionKeymap,
  ...lintKeymap,
  indentWithTab,
]);

/** Tells of changes to the text, and of the line that the cursor was moved to. */
function changesTo(onChange: EditorOptions["onChange"], onLine: EditorOptions["onLine"]): Extension {
  let line = 0;
  return EditorView.updateListener.of((update) => {
    if (update.docChanged) onChange(update.state.doc.toString());
    const now = update.state.doc.lineAt(update.state.selection.main.head).number;
    if (now === line || !update.selectionSet) return;
    line = now;
    onLine(now);
  });
}

function goTo(view: EditorView, line: number, isFocused: boolean): void {
  const { from, text } = view.state.doc.line(Math.min(line, view.state.doc.lines));
  const anchor = from + /^\s*/.exec(text)![0].length;
  view.dispatch({ selection: { anchor }, effects: EditorView.scrollIntoView(anchor, { y: "center" }) });
  if (isFocused) view.focus();
}

/** Clamped, since the text may have become shorter since it was checked. */
const within = (mistakes: readonly Diagnostic[], length: number): Diagnostic[] =>
  mistakes.map((m) => ({ ...m, from: Math.min(m.from, length), to: Math.min(m.to, length) }));

async function complete(language: Client<LanguageService>, context: CompletionContext) {
  const text = context.state.doc.toString();
  const isAsked = context.explicit || context.matchBefore(/[\w$.]$/);
  if (!isAsked) return null;
  const found = await language.call.completions(text, context.pos);
  if (!found) return null;
  return {
    from: found.from,
    validFor: /^[\w$]*$/,
    options: found.options.map(({ label, kind }) => ({
      label,
      type: kind,
      info: async () => element("pre", { class: "cm-explained" }, await language.call.detail(text, context.pos, label)),
    })),
  };
}

async function explain(language: Client<LanguageService>, view: EditorView, at: number) {
  const found = await language.call.explain(view.state.doc.toString(), at);
  if (!found) return null;
  return {
    pos: found.from,
    end: found.to,
    create: () => ({
      dom: element(
        "div",
        { class: "cm-explained" },
        element("code", {}, found.code),
        ...(found.text === "" ? [] : [element("p", {}, found.text)]),
      ),
    }),
  };
}
