/** The tables of stages in docs/architecture.md: all columns but the last follow from the lists. */
import type { AnyStage } from "../../compiler/index.ts";

/** A row of a table: what follows from the list, and what a person wrote about it. */
export interface StageRow {
  readonly fact: string;
  readonly says: string;
}

const rowsOf = (target: string): RegExp => new RegExp(`(^### ${target}\\n[\\s\\S]*?^\\|---.*\\n)((?:\\|.*\\n)*)`, "m");

/** `| emit | export plan → ONNX body | | ` */
export const stageRow = ({ name, from, to, needs = [] }: AnyStage): string =>
  `| ${name} | ${from === to ? from.name : `${from.name} → ${to.name}`} |${needs.map((n) => ` ${n}`).join(",")} |`;

/** The rows below the heading of a target. */
export function readRows(page: string, target: string): StageRow[] {
  const [, , rows = ""] = rowsOf(target).exec(page) ?? [];
  return rows
    .trimEnd()
    .split("\n")
    .map((row) => {
      const [, fact = row, says = ""] = /^((?:\|[^|]*){3}\|) ?(.*?) *\|$/.exec(row) ?? [];
      return { fact, says };
    });
}

/**
 * The page with the rows of these stages; what is said of a stage goes by its name, and a new one has nothing said of
 * it.
 */
export function withRows(page: string, target: string, stages: readonly AnyStage[]): string {
  const nameOf = (fact: string) => fact.split("|")[1]!.trim();
  const said = new Map(readRows(page, target).map((r) => [nameOf(r.fact), r.says]));
  const rows = stages.map((s) => `${stageRow(s)} ${said.get(s.name) ?? "?"} |\n`).join("");
  return page.replace(rowsOf(target), (_, head: string) => head + rows);
}
