/**
 * Turns the syntax tree into nodes: checks names, types and attributes, inlines calls and unrolls loops. Statements are
 * checked one by one; the values of a faulty one take their annotated types, so that one mistake is reported once.
 */
import { didYouMean } from "../../diagnostics/did-you-mean.ts";
import type { Node } from "../node.ts";
import { sameType, type TensorType } from "../type.ts";
import {
  attempt,
  check,
  deepestCall,
  type Elaboration,
  type Frame,
  isBroken,
  mostStatements,
  newFrame,
  placeholder,
  report,
  tokensOf,
  typeOf,
} from "./context.ts";
import { defineLost, loseDeclared, loseInput, loseIterations } from "./lost.ts";
import { loneValue, type OperandValue, operandValues, readCount } from "./operands.ts";
import { evaluateOperation } from "./operation.ts";
import { valuesIn, variableIn } from "./salvage.ts";
import { define, familyOf, iterationScope, type Known } from "./scope.ts";
import { spellText, spellType } from "./spell.ts";
import type {
  Argument,
  Call,
  Definition,
  Placed,
  RepeatHeader,
  Result,
  SignatureEntry,
  Statement,
  TypeTree,
  Word,
} from "./tree.ts";
import { readInteger, readName, TextFault } from "./values.ts";

/** Declares the inputs of a graph's signature. */
export function declareInputs(e: Elaboration, frame: Frame, entries: readonly SignatureEntry[]): void {
  for (const entry of entries) {
    const type = typeOf(e, entry.type, frame.scope);
    const known = attempt<Known>(
      e,
      () => ({ node: declareInput(frame, entry, type) }),
      () => placeholder(type, entry.value),
    );
    loseInput(frame, entry.name ?? entry.value);
    check(e, () => define(frame.scope, entry.value, known));
  }
}

/** A signature entry is shorthand for the op `input`. */
function declareInput(frame: Frame, entry: SignatureEntry, type: TensorType | undefined): Node | undefined {
  const { role, value } = entry;
  const { span } = value;
  if (role && role.text !== "state") {
    throw new TextFault(role.span, `an input is fed, or kept between runs as "state"; "${role.text}" is neither`);
  }
  if (!entry.type) throw new TextFault(span, `%${value.text} needs a type, such as %${value.text}: f32[batch=4]`);
  if (!type) return undefined;
  const name = entry.name ?? { text: spellText(value.text), span };
  const terms = [{ sign: 1, factors: ["state"] }] as const;
  const state: Argument[] = role
    ? [{ name: { text: "role", span }, value: { kind: "expression", expression: { span, terms }, span } }]
    : [];
  return evaluateOperation(frame, { op: { text: "input", span }, name, operands: [], attributes: state }, [], type);
}

/** Declares a function's parameters as placeholders, to check its body without a call. */
export function declareStandIns(e: Elaboration, frame: Frame, entries: readonly SignatureEntry[]): void {
  for (const { value, type } of entries) {
    check(e, () => define(frame.scope, value, placeholder(typeOf(e, type, frame.scope), value)));
  }
}

/** Elaborates the statements of a section or a loop. */
export function elaborateBody(e: Elaboration, frame: Frame, body: readonly Placed[]): void {
  for (const placed of body) {
    if (e.statementsLeft-- <= 0) return;
    elaborateStatement(e, frame, placed);
  }
}

function elaborateStatement(e: Elaboration, frame: Frame, placed: Placed): void {
  const { statement } = placed;
  if (statement.kind === "repeat") repeat(e, frame, statement, placed);
  else if (statement.kind === "faulty" || isFaulty(e, placed)) defineLost(e, frame, placed);
  else if (statement.kind === "definition") defineAll(e, frame, statement);
  else for (const result of statement.results) addResult(e, frame, result);
}

/** True for a broken statement other than a loop. */
const isFaulty = (e: Elaboration, placed: Placed): boolean =>
  placed.statement.kind === "faulty" || (placed.statement.kind !== "repeat" && isBroken(e, placed));

function defineAll(e: Elaboration, frame: Frame, definition: Definition): void {
  const { targets, types } = definition;
  const annotated = types.map((t) => typeOf(e, t, frame.scope));
  const values = attempt<readonly Known[]>(
    e,
    () => evaluate(e, frame, definition, annotated),
    () => [],
  );
  if (!values[0]?.node) loseDeclared(frame, definition);
  targets.forEach((target, i) => {
    const known = attempt<Known>(
      e,
      () => asAnnotated(values[i], annotated[i], types[i], definition, target),
      () => placeholder(annotated[i], target),
    );
    check(e, () => define(frame.scope, target, known));
  });
}

/** A value without a node takes the annotated type; a value of another type is a mistake. */
function asAnnotated(
  known: Known | undefined,
  type: TensorType | undefined,
  tree: TypeTree | undefined,
  { operation }: Definition,
  target: Word,
): Known {
  if (!known?.node) return placeholder(type, target);
  if (!type || !tree || sameType(known.node.type, type)) return known;
  const what = "op" in operation ? operation.op.text : `@${operation.callee.text}`;
  throw new TextFault(tree.span, `the line says ${spellType(type)}, but ${what} gives ${spellType(known.node.type)}`);
}

function evaluate(
  e: Elaboration,
  frame: Frame,
  { targets, operation, types }: Definition,
  annotated: readonly (TensorType | undefined)[],
): readonly Known[] {
  if (types.length > targets.length) throw new TextFault(types.at(-1)!.span, "there are more types than values");
  if ("callee" in operation) return call(e, frame, operation, targets);
  if (targets.length > 1) {
    throw new TextFault(targets[1]!.span, `${operation.op.text} gives one value, and ${targets.length} are named`);
  }
  const operands = operandValues(frame.scope, operation.operands);
  if (types.length > 0 && !annotated[0]) return [{ node: undefined }]; // the type is faulty, and a source needs it
  return [{ node: evaluateOperation(frame, operation, operands, annotated[0]) }];
}

function addResult(e: Elaboration, frame: Frame, result: Result): void {
  const { bindings } = frame.scope;
  const name =
    result.name &&
    attempt(
      e,
      () => readName(result.name!, bindings),
      () => undefined,
    );
  const updates =
    result.updates &&
    attempt(
      e,
      () => readName(result.updates!, bindings),
      () => undefined,
    );
  const known = attempt<Known>(
    e,
    () => loneValue(frame.scope, result.operand),
    () => ({ node: undefined }),
  );
  frame.results.push({ result, name, updates, known });
}

const count = (n: number): string => (n === 1 ? "1 value" : `${n} values`);

/** Inlines a function: elaborates its statements on the arguments, in a scope of their own. */
function call(e: Elaboration, frame: Frame, { callee, operands, path }: Call, targets: readonly Word[]): Known[] {
  const found = e.functions.get(callee.text);
  if (!found && e.lostFunctions.has(callee.text)) return targets.map(() => ({ node: undefined }));
  if (!found || found.order >= frame.order) {
    const reason = found ? "a function is defined before it is called" : "there is no such function";
    throw new TextFault(
      callee.span,
      `@${callee.text}: ${reason}${didYouMean(callee.text, found ? [] : e.functions.keys())}`,
    );
  }
  const { inputs } = found.head;
  const given = operandValues(frame.scope, operands);
  if (given.length !== inputs.length) {
    const wanted = `@${callee.text} takes ${count(inputs.length)}`;
    throw new TextFault(callee.span, `${wanted}, but is given ${given.length}`);
  }
  const prefix = path ? `${frame.prefix}${readName(path, frame.scope.bindings)}.` : frame.prefix;
  const depth = frame.depth + 1;
  if (depth > deepestCall) throw new TextFault(callee.span, `calls are nested more than ${deepestCall} deep here`);
  const inner: Frame = {
    ...newFrame(e, found.order),
    inputs: frame.inputs,
    lost: { inputs: frame.lost.inputs, results: false },
    prefix,
    depth,
  };
  for (const [i, input] of inputs.entries()) define(inner.scope, input.value, argument(e, inner, input, given[i]!));
  elaborateBody(e, inner, found.section.body);
  if (inner.lost.results) return targets.map(() => ({ node: undefined }));
  if (inner.results.length !== targets.length) {
    const returned = `@${callee.text} returns ${count(inner.results.length)}`;
    throw new TextFault(callee.span, `${returned}, but ${targets.length} names are given`);
  }
  return inner.results.map((r) => r.known);
}

function argument(e: Elaboration, inner: Frame, input: SignatureEntry, value: OperandValue): Known {
  if (value.kind === "number") {
    throw new TextFault(value.span, "a number alone has no dtype: write it as f32(0.5)");
  }
  const type = typeOf(e, input.type, inner.scope);
  const { node } = value.known;
  if (!node) return placeholder(type, input.value);
  if (!type || sameType(node.type, type)) return value.known;
  const message = `%${input.value.text} is ${spellType(type)}, but the value given is ${spellType(node.type)}`;
  throw new TextFault(value.span, message);
}

/** Elaborates the body of a loop once per iteration, up to the first mistake: later iterations would repeat it. */
function repeat(e: Elaboration, frame: Frame, loop: RepeatTree, placed: Placed): void {
  const { body, headerTo } = loop;
  const header = isBroken(e, { from: placed.from, to: headerTo }) ? undefined : loop.header;
  const count =
    header &&
    attempt<number | undefined>(
      e,
      () => beginLoop(frame, header),
      () => undefined,
    );
  if (!header || count === undefined) {
    repeatOnce(e, frame, loop, placed);
    return;
  }
  const before = e.mistakes.length;
  for (let i = 0; i < count && e.statementsLeft > 0; i++) {
    elaborateBody(e, { ...frame, scope: iterationScope(frame.scope, header.variable.text, i, count) }, body);
    if (e.mistakes.length > before || body.some((p) => isFaulty(e, p))) {
      loseIterations(e, frame, body, count);
      return;
    }
  }
  for (const { target } of header.initial) {
    if (frame.scope.families.get(target.name.text)?.line === undefined)
      report(e, target.span, `the loop defines no %${target.name.text}`);
  }
}

type RepeatTree = Extract<Statement, { kind: "repeat" }>;

/** Checks the body of a loop whose head is faulty, as if it ran once; other iterations are not reported on. */
function repeatOnce(e: Elaboration, frame: Frame, { headerTo, body }: RepeatTree, placed: Placed): void {
  const head = tokensOf(e, { from: placed.from, to: headerTo });
  for (const { text } of valuesIn(head)) familyOf(frame.scope, text, mostStatements).incomplete = true;
  loseIterations(e, frame, body, mostStatements);
  const variable = variableIn(head);
  const before = e.lostVariable;
  e.lostVariable ||= variable === undefined;
  elaborateBody(e, { ...frame, scope: iterationScope(frame.scope, variable ?? "", 0, mostStatements) }, body);
  e.lostVariable = before;
}

/** Sets the initial values of loop-carried values; returns the number of iterations. */
function beginLoop(frame: Frame, header: RepeatHeader): number {
  const { count, variable, initial } = header;
  const iterations = readCount(count, frame.scope);
  const taken = frame.scope.bindings.get(variable.text);
  if (taken !== undefined) {
    const what = typeof taken === "number" ? "the variable of the loop around" : "a declared symbol";
    throw new TextFault(variable.span, `"${variable.text}" is ${what}`);
  }
  for (const { target, operand } of initial) {
    const index = target.index && readInteger(target.index, frame.scope.bindings);
    if (index === undefined || index >= 0) {
      throw new TextFault(target.span, `a loop begins with the value before its first: %${target.name.text}[-1] = ...`);
    }
    familyOf(frame.scope, target.name.text, iterations).values.set(index, loneValue(frame.scope, operand));
  }
  return iterations;
}
