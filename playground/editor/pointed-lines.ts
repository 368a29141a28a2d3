/** Editor lines marked by another pane: the sources of a kernel or node. */
import { StateEffect, StateField } from "@codemirror/state";
import { Decoration, type DecorationSet, EditorView } from "@codemirror/view";

const setLines = StateEffect.define<readonly number[]>();

const mark = Decoration.line({ class: "cm-pointed" });

export const pointedLines = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update: (old, transaction) => {
    const effect = transaction.effects.find((e) => e.is(setLines));
    if (!effect) return old.map(transaction.changes);
    const { doc } = transaction.state;
    const lines = [...new Set(effect.value as readonly number[])].filter((n) => n >= 1 && n <= doc.lines);
    return Decoration.set(lines.sort((a, b) => a - b).map((n) => mark.range(doc.line(n).from)));
  },
  provide: (field) => EditorView.decorations.from(field),
});

export function pointLines(view: EditorView, lines: readonly number[], isShown: boolean): void {
  const first = lines.length > 0 ? Math.min(...lines, view.state.doc.lines) : undefined;
  const scroll =
    isShown && first !== undefined ? [EditorView.scrollIntoView(view.state.doc.line(first).from, { y: "center" })] : [];
  view.dispatch({ effects: [setLines.of(lines), ...scroll] });
}
