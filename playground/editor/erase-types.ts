/**
 * Erases the types of a module with the editor's own parser, so that it runs without TypeScript. Types become spaces,
 * as Node makes them when it runs a TypeScript file, so that every position stays what it was and no source map is
 * needed.
 */
import { typescriptLanguage } from "@codemirror/lang-javascript";
import type { Code } from "../machine/user-module.ts";

type SyntaxNode = ReturnType<typeof typescriptLanguage.parser.parse>["topNode"];

/** Statements without any code. */
const typeStatements: ReadonlySet<string> = new Set([
  "TypeAliasDeclaration",
  "InterfaceDeclaration",
  "AmbientDeclaration",
]);

/** Types, and marks that only a type checker reads. */
const typeParts: ReadonlySet<string> = new Set([
  "TypeAnnotation",
  "TypePredicate",
  "TypeParamList",
  "TypeArgList",
  "Optional",
]);

const modifiers: ReadonlySet<string> = new Set(["Privacy", "readonly", "override", "abstract", "declare"]);

/** What means something when it runs, and is no JavaScript; or is not in every browser. */
const moreThanTypes: ReadonlySet<string> = new Set([
  "EnumDeclaration",
  "NamespaceDeclaration",
  "PrefixCast",
  "Decorator",
  "accessor",
]);

const modulesNamed: ReadonlySet<string> = new Set(["ImportDeclaration", "ExportDeclaration", "DynamicImport"]);

/** The module is not only JavaScript with types; or the parser does not know its syntax. */
class NotErasable extends Error {}

/** The module as JavaScript; undefined if it has syntax errors, or syntax that is more than types, such as an enum. */
export function erased(source: string): Code | undefined {
  const draft = draftOf(source);
  try {
    erase(typescriptLanguage.parser.parse(source).topNode, draft);
  } catch (error) {
    if (error instanceof NotErasable) return undefined;
    throw error;
  }
  return { source, js: draft.text(), imports: draft.imports };
}

interface Draft {
  readonly source: string;
  readonly imports: Code["imports"][number][];
  readonly blank: (from: number, to: number) => void;
  readonly put: (at: number, character: string) => void;
  readonly text: () => string;
}

function draftOf(source: string): Draft {
  const units = source.split("");
  return {
    source,
    imports: [],
    blank: (from, to) => {
      for (let at = from; at < to; at++) if (!/[\r\n\u2028\u2029]/.test(units[at]!)) units[at] = " ";
    },
    put: (at, character) => void (units[at] = character),
    text: () => units.join(""),
  };
}

function erase(node: SyntaxNode, draft: Draft): void {
  if (node.type.isError || moreThanTypes.has(node.name)) throw new NotErasable();
  if (typeParts.has(node.name)) {
    draft.blank(checked(node).from, node.to);
    return;
  }
  if (isOnlyType(node)) {
    eraseStatement(node, draft);
    return;
  }
  const children = childrenOf(node);
  for (const child of children) erase(child, draft);
  if (modulesNamed.has(node.name)) draft.imports.push(...importsOf(children, draft));
  rules[node.name]?.(node, children, draft);
}

/** What is erased must be without errors too: where a type ends badly, nobody knows where code begins. */
function checked(node: SyntaxNode): SyntaxNode {
  if (node.type.isError) throw new NotErasable();
  for (const child of childrenOf(node)) checked(child);
  return node;
}

/** An empty statement in its place ends the one before, which may have relied on the next for that. */
function eraseStatement(node: SyntaxNode, { blank, put }: Draft): void {
  checked(node);
  blank(node.from, node.to);
  put(node.from, ";");
}

function isOnlyType(node: SyntaxNode): boolean {
  const has = (name: string) => node.getChild(name) !== null;
  if (typeStatements.has(node.name)) return true;
  if (node.name === "ImportDeclaration") return has("type");
  if (node.name === "ExportDeclaration") return has("type") || childrenOf(node).some(isOnlyType);
  if (node.name === "FunctionDeclaration" || node.name === "MethodDeclaration") return !has("Block"); // an overload
  return node.name === "PropertyDeclaration" && (has("declare") || has("abstract"));
}

type Rule = (node: SyntaxNode, children: readonly SyntaxNode[], draft: Draft) => void;

const rules: Readonly<Record<string, Rule>> = {
  BinaryExpression: (node, children, draft) => {
    // The parser takes some type arguments for comparisons: async <T>(x) => y, f<typeof import("m")>(x).
    if (isOperator(children, />/) && isOperator(childrenOf(children[0]!), /</)) throw new NotErasable();
    eraseCast(node, children, draft);

    function isOperator(of: readonly SyntaxNode[], sign: RegExp): boolean {
      const operator = of[1];
      return operator?.name === "CompareOp" && sign.test(draft.source.slice(operator.from, operator.to));
    }
  },
  PostfixExpression: (_, children, { blank }) => {
    const last = children.at(-1)!;
    if (last.name === "LogicOp") blank(last.from, last.to); // x!
  },
  ArrowFunction: eraseArrow,
  ParamList: eraseParameters,
  ImportGroup: eraseTypeImports,
  ClassDeclaration: (node, _, { blank }) => {
    const [abstract, interfaces] = [node.getChild("abstract"), node.getChild("implements")];
    if (abstract) blank(abstract.from, abstract.to);
    if (interfaces) blank(interfaces.from, node.getChild("ClassBody")!.from);
  },
  MethodDeclaration: eraseMember,
  PropertyDeclaration: eraseMember,
  ExportDeclaration: (_, children) => {
    if (children[1]?.name === "Equals") throw new NotErasable(); // export = x
  },
};

/** `x as T` and `x satisfies T`. */
function eraseCast(node: SyntaxNode, children: readonly SyntaxNode[], { source, blank, put }: Draft): void {
  const word = children.find(({ name }) => name === "as" || name === "satisfies");
  if (!word) return;
  for (const type of children.slice(children.indexOf(word))) checked(type);
  blank(word.from, node.to);
  // The line ended after a type, and would not end before one of these.
  if (/^[^\S\r\n]*[\r\n]\s*[([`]/.test(source.slice(node.to))) put(word.from, ";");
}

/** No line may end between the parameters and the arrow: the parenthesis moves to the end of the type. */
function eraseArrow(node: SyntaxNode, children: readonly SyntaxNode[], { source, put }: Draft): void {
  const [parameters, type, generic] = ["ParamList", "TypeAnnotation", "TypeParamList"].map((n) => node.getChild(n));
  if (generic && children[0]!.name === "async" && source.slice(generic.from, generic.to).includes("\n"))
    throw new NotErasable();
  if (!parameters || !type || !source.slice(parameters.to, type.to).includes("\n")) return;
  put(parameters.to - 1, " ");
  put(type.to - 1, ")");
}

function eraseParameters(_: SyntaxNode, children: readonly SyntaxNode[], { blank }: Draft): void {
  if (children.some(({ name }) => modifiers.has(name))) throw new NotErasable(); // a parameter that is a property
  const at = children.findIndex(({ name }) => name === "this");
  if (at < 0) return;
  const end = children.slice(at).find(({ name }) => name === "," || name === ")")!;
  blank(children[at]!.from, end.name === "," ? end.to : end.from);
}

/** `import { type A, b }` becomes `import { b }`. */
function eraseTypeImports(_: SyntaxNode, children: readonly SyntaxNode[], { blank }: Draft): void {
  for (const [at, { name, from }] of children.entries()) {
    if (name !== "type") continue;
    const end = children.slice(at).find((child) => child.name === "," || child.name === "}")!;
    blank(from, end.name === "," ? end.to : end.from);
  }
}

function eraseMember(_: SyntaxNode, children: readonly SyntaxNode[], { source, blank }: Draft): void {
  for (const { name, from, to } of children) {
    if (!modifiers.has(name) && name !== "LogicOp") continue; // LogicOp: x!: T
    // Behind the field before, these would continue its line.
    if (name !== "LogicOp" && /^\s*[[*(]/.test(source.slice(to))) throw new NotErasable();
    blank(from, to);
  }
}

const importsOf = (children: readonly SyntaxNode[], { source }: Draft): Code["imports"][number][] =>
  children
    .filter(({ name }) => name === "String")
    .map(({ from, to }) => ({ name: source.slice(from + 1, to - 1), from, to }));

function childrenOf(node: SyntaxNode): SyntaxNode[] {
  const all: SyntaxNode[] = [];
  for (let child = node.firstChild; child; child = child.nextSibling) all.push(child);
  return all;
}
