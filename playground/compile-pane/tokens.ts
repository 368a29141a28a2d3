/** Syntax highlighting for graphs, kernels and WGSL, by one set of lexical rules. */
import { element } from "../shell/element.ts";

const kinds: readonly (readonly [string, RegExp])[] = [
  ["comment", /^\/\/.*/],
  ["value", /^[%@][\w.$]+/],
  ["string", /^"(?:[^"\\]|\\.)*"/],
  ["type", /^(?:f32|f16|i32|u32|bool|vec[234]|array|ptr|mat\w+)\b/],
  [
    "keyword",
    /^(?:fn|var|let|const|for|if|else|return|struct|storage|workgroup|function|read_write|read|graph|over|dot|state|updates|as|while|loop|break|uniform|enable|parallel|kernel|load|store)\b/,
  ],
  ["number", /^-?\d[\w.+]*/],
  ["attribute", /^@\w+/],
  ["plain", /^[A-Za-z_]\w*/],
  ["plain", /^[^\w"%@/]+/],
  ["plain", /^./],
];

/** The text as nodes; plain text is left as strings. */
export function tokens(text: string): (Node | string)[] {
  const made: (Node | string)[] = [];
  let plain = "";
  for (let rest = text; rest !== ""; ) {
    const [kind, found] = next(rest);
    rest = rest.slice(found.length);
    if (kind === "plain") plain += found;
    else {
      if (plain !== "") made.push(plain);
      plain = "";
      made.push(element("span", { class: `t-${kind}` }, found));
    }
  }
  if (plain !== "") made.push(plain);
  return made;
}

function next(text: string): readonly [string, string] {
  for (const [kind, pattern] of kinds) {
    const found = pattern.exec(text);
    if (found) return [kind, found[0]];
  }
  return ["plain", text];
}
