/** Scopes: names of values, and of families with one value per loop iteration. */
import { didYouMean } from "../../diagnostics/did-you-mean.ts";
import type { Node } from "../node.ts";
import type { Reference, Word } from "./tree.ts";
import { type Bindings, readInteger, TextFault } from "./values.ts";

/** A value; it has no node if its statement is faulty and has no type annotation. */
export interface Known {
  readonly node: Node | undefined;
}

/** The values of a name defined in a loop, by iteration; initial values have negative iterations. */
export interface Family {
  readonly values: Map<number, Known>;
  /** The number of iterations of its loop. */
  readonly count: number;
  /** The line that defines it; absent while only initial values are known. */
  line: number | undefined;
  /** True if a mistake in the loop leaves some of its values unknown. */
  incomplete: boolean;
}

export interface Scope {
  readonly parent: Scope | undefined;
  readonly values: Map<string, { readonly known: Known; readonly line: number }>;
  readonly families: Map<string, Family>;
  /** The loop whose body this is: definitions here join a family of the enclosing scope. */
  readonly loop: { readonly variable: string; readonly iteration: number; readonly count: number } | undefined;
  readonly bindings: Bindings;
}

export const rootScope = (symbols: Bindings): Scope => ({
  parent: undefined,
  values: new Map(),
  families: new Map(),
  loop: undefined,
  bindings: symbols,
});

export const iterationScope = (parent: Scope, variable: string, iteration: number, count: number): Scope => ({
  parent,
  values: new Map(),
  families: new Map(),
  loop: { variable, iteration, count },
  bindings: new Map([...parent.bindings, [variable, iteration]]),
});

/** Defines a name; throws TextFault if it is taken. */
export function define(scope: Scope, name: Word, known: Known): void {
  const around = chain(scope).slice(1);
  const taken =
    scope.values.get(name.text)?.line ??
    scope.families.get(name.text)?.line ??
    around.map((s) => s.values.get(name.text)?.line ?? otherFamily(s, name)).find((line) => line !== undefined);
  if (taken !== undefined) throw new TextFault(name.span, `%${name.text} is already defined in line ${taken}`);
  scope.values.set(name.text, { known, line: name.span.line });
  if (!scope.loop || !scope.parent) return;
  const family = familyOf(scope.parent, name.text, scope.loop.count);
  family.line = name.span.line;
  family.values.set(scope.loop.iteration, known);
}

/** The line of a family with this name that another statement defines. */
function otherFamily(scope: Scope, name: Word): number | undefined {
  const line = scope.families.get(name.text)?.line;
  return line === name.span.line ? undefined : line;
}

/** The family of a name in a scope, created if needed. */
export function familyOf(scope: Scope, name: string, count: number): Family {
  let family = scope.families.get(name);
  if (!family) {
    family = { values: new Map(), count, line: undefined, incomplete: false };
    scope.families.set(name, family);
  }
  return family;
}

/** The scope and its enclosing ones, innermost first. */
function chain(scope: Scope): Scope[] {
  const all: Scope[] = [];
  for (let s: Scope | undefined = scope; s; s = s.parent) all.push(s);
  return all;
}

/** Resolves `%name` or `%name[index]`; throws TextFault if there is no such value. */
export function lookUp(scope: Scope, reference: Reference): Known {
  const { name, index, span } = reference;
  for (let s: Scope | undefined = scope; s; s = s.parent) {
    const value = index ? undefined : s.values.get(name.text);
    if (value) return value.known;
    const family = s.families.get(name.text);
    if (family) return member(scope, family, reference);
  }
  if (index && chain(scope).some((s) => s.values.has(name.text))) {
    throw new TextFault(span, `%${name.text} is one value, not one for each iteration: write %${name.text}`);
  }
  const isNumber = (n: string) => /^\d+$/.test(n);
  const known = chain(scope)
    .flatMap((s) => [...s.values.keys(), ...s.families.keys()])
    .filter((n) => isNumber(n) === isNumber(name.text));
  const near = didYouMean(name.text, known)
    .replaceAll('"', "")
    .replace(/(mean|or) /g, "$1 %");
  throw new TextFault(name.span, `there is no value %${name.text} here${near}`);
}

function member(scope: Scope, family: Family, { name, index, span }: Reference): Known {
  if (!index) {
    if (family.incomplete && family.line === undefined) return { node: undefined };
    const example = scope.loop ? `${scope.loop.variable}-1` : family.count - 1;
    throw new TextFault(
      span,
      `%${name.text} has a value for each iteration: say which, such as %${name.text}[${example}]`,
    );
  }
  const at = readInteger(index, scope.bindings);
  const known = family.values.get(at);
  if (known) return known;
  if (family.incomplete && at < family.count) return { node: undefined };
  throw new TextFault(span, `%${name.text} has no value for iteration ${at}${extent(family, at, name.text)}`);
}

function extent(family: Family, at: number, name: string): string {
  if (at < 0) return `: where the loop begins, give it one with %${name}[${at}] = ...`;
  return at < family.count ? " yet" : `: its loop has the iterations 0 to ${family.count - 1}`;
}
