/** Diffs the text before and after a compiler stage: removed lines, added lines, and context. */
import type { TextLine } from "../machine/compiled.ts";
import type { ShownLine } from "./text-view.ts";

/** Context lines shown around a change. */
const around = 2;

/** Every stage renumbers values, so their numbers are ignored. */
const shape = ({ text }: TextLine): string => text.replace(/%\d+/g, "%").replace(/ +/g, " ").trim();

/** Both texts merged; long unchanged runs are collapsed into a line with their count. */
export function changes(before: readonly TextLine[], after: readonly TextLine[]): ShownLine[] {
  const merged = merge(before, after);
  const near = (i: number) => merged.slice(Math.max(0, i - around), i + around + 1).some((l) => l.mark);
  const shown: ShownLine[] = [];
  let skipped = 0;
  const flush = () => {
    if (skipped > 0) shown.push({ text: `// ${skipped} ${skipped === 1 ? "line" : "lines"} unchanged` });
    skipped = 0;
  };
  for (const [i, line] of merged.entries()) {
    if (!near(i)) {
      skipped += 1;
      continue;
    }
    flush();
    shown.push(line);
  }
  flush();
  return shown;
}

/** Longest common subsequence, after stripping the common prefix and suffix. */
function merge(before: readonly TextLine[], after: readonly TextLine[]): ShownLine[] {
  const [a, b] = [before.map(shape), after.map(shape)];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let [endA, endB] = [a.length, b.length];
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) {
    endA--;
    endB--;
  }
  const [middleA, middleB] = [a.slice(start, endA), b.slice(start, endB)];
  const lengths = commonLengths(middleA, middleB);
  const made: ShownLine[] = [...after.slice(0, start)];
  let [i, j] = [0, 0];
  while (i < middleA.length || j < middleB.length) {
    if (i < middleA.length && j < middleB.length && middleA[i] === middleB[j]) {
      made.push(after[start + j]!);
      i++;
      j++;
    } else if (j >= middleB.length || (i < middleA.length && lengths[i + 1]![j]! >= lengths[i]![j + 1]!))
      made.push({ ...before[start + i++]!, mark: "gone" });
    else made.push({ ...after[start + j++]!, mark: "new" });
  }
  return [...made, ...after.slice(endB)];
}

function commonLengths(a: readonly string[], b: readonly string[]): Uint16Array[] {
  const table = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      table[i]![j] = a[i] === b[j] ? table[i + 1]![j + 1]! + 1 : Math.max(table[i + 1]![j]!, table[i]![j + 1]!);
  return table;
}
