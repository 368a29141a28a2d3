/** Tracks what faulty lines would have declared, so that uses of those values, inputs and results are not reported. */
import type { IToken } from "chevrotain";
import { globMatches } from "../../diagnostics/switches.ts";
import { check, type Elaboration, type Frame, placeholder, tokensOf, typeOf } from "./context.ts";
import { entriesIn, statementsIn, targetsIn, textsIn, typeIn } from "./salvage.ts";
import { define, familyOf } from "./scope.ts";
import { Equals } from "./tokens.ts";
import type { Definition, Placed, Section, Word } from "./tree.ts";

/** Defines the values that a broken line would have defined, with the type at its end. */
export function defineLost(e: Elaboration, frame: Frame, placed: Placed): void {
  for (const tokens of statementsIn(tokensOf(e, placed))) defineLostBy(e, frame, tokens);
}

function defineLostBy(e: Elaboration, frame: Frame, tokens: readonly IToken[]): void {
  const targets = targetsIn(tokens);
  if (targets.length === 0) frame.lost.results = true; // it may have been a return
  loseTexts(frame, tokens);
  const type = targets.length === 1 ? typeOf(e, typeIn(tokens), frame.scope) : undefined;
  for (const target of targets) check(e, () => define(frame.scope, target, placeholder(type, target)));
}

/** Declares the values in a signature that does not parse. */
export function declareLost(e: Elaboration, frame: Frame, section: Section): void {
  const tokens = tokensOf(e, section);
  loseTexts(frame, tokens);
  for (const { value, type } of entriesIn(tokens)) {
    loseInput(frame, value);
    check(e, () => define(frame.scope, value, placeholder(typeOf(e, type, frame.scope), value)));
  }
}

/** Notes that a faulty line may have declared an input of this name, in any iteration. */
export function loseInput(frame: Frame, { text }: Word): void {
  frame.lost.inputs.add(frame.prefix + pattern(text));
}

/** A broken line may have declared the names it quotes; one that ends before its op, any name. */
function loseTexts(frame: Frame, tokens: readonly IToken[]): void {
  for (const name of textsIn(tokens)) loseInput(frame, name);
  if (tokens.at(-1)?.tokenType === Equals) frame.lost.inputs.add("*");
}

/** True if a faulty line may have declared an input of this name. */
export const mayBeLost = (frame: Frame, name: string): boolean =>
  [...frame.lost.inputs].some((pattern) => globMatches(pattern, name));

/** A name as written in the text, with * for iterations. */
const pattern = (text: string): string =>
  text
    .replace(/^"|"$/g, "")
    .replace(/\{\{|\}\}|\{[^{}]*\}/g, (part) => (part === "{{" || part === "}}" ? part[0]! : "*"));

/** A failed definition may have declared inputs, itself or in the function that it calls. */
export function loseDeclared(frame: Frame, { operation }: Definition): void {
  if ("op" in operation) {
    if (operation.name) loseInput(frame, operation.name);
  } else if (operation.path) frame.lost.inputs.add(`${frame.prefix}${pattern(operation.path.text)}.*`);
}

/** Marks the values of skipped iterations as unknown. */
export function loseIterations(e: Elaboration, frame: Frame, body: readonly Placed[], count: number): void {
  for (const placed of body) {
    const { statement } = placed;
    if (statement.kind === "return") frame.lost.results = true;
    else if (statement.kind === "repeat") loseIterations(e, frame, statement.body, count);
    else {
      const tokens = tokensOf(e, placed);
      if (statement.kind === "definition") loseDeclared(frame, statement);
      else loseTexts(frame, tokens);
      for (const { text } of targetsIn(tokens)) familyOf(frame.scope, text, count).incomplete = true;
    }
  }
}
