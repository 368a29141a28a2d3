/** The grammar within a line: sizes, attribute values, operands and types. */
import { EmbeddedActionsParser, type IToken, type ParserMethod } from "chevrotain";
import { messages } from "./parser-messages.ts";
import {
  As,
  CloseRound,
  CloseSquare,
  Comma,
  Equals,
  Identifier,
  Minus,
  NumberList,
  Numeral,
  OpenRound,
  OpenSquare,
  Plus,
  Repeat,
  Star,
  Text,
  Value,
  vocabulary,
} from "./tokens.ts";
import {
  type Argument,
  type Expression,
  type Operand,
  type Reference,
  spanBetween,
  type Term,
  type TypeTree,
  type Value as ValueTree,
  type Word,
  wordOf,
} from "./tree.ts";

/** Error recovery resynchronizes only at whole statements, headers and sections, not within a line. */
export const inLine = { resyncEnabled: false };

/** The value of a parser alternative that consumes one token. */
export const alternative = <T>(value: T, _token: IToken): T => value;

/** A base class, as chevrotain's rules are members; `GraphParser` extends it with the rules of lines. */
export abstract class ValueParser extends EmbeddedActionsParser {
  constructor() {
    super(vocabulary, { recoveryEnabled: true, maxLookahead: 2, errorMessageProvider: messages });
  }

  protected readonly operand: ParserMethod<[], Operand> = this.RULE(
    "operand",
    () =>
      this.OR([
        {
          ALT: () => {
            const reference = this.SUBRULE(this.reference);
            return { kind: "reference" as const, reference, span: reference.span };
          },
        },
        { ALT: () => this.SUBRULE(this.series) },
        {
          ALT: () => {
            const dtype = this.CONSUME(Identifier);
            this.CONSUME(OpenRound);
            const value = this.SUBRULE(this.literal);
            const close = this.CONSUME(CloseRound);
            return { kind: "literal" as const, value, dtype: wordOf(dtype), span: spanBetween(dtype, close) };
          },
        },
        {
          ALT: () => {
            const value = this.SUBRULE(this.bareLiteral);
            return { kind: "literal" as const, value, dtype: undefined, span: value.span };
          },
        },
      ]),
    inLine,
  );

  /** `repeat 48 as i (%grad[i])`: operands per iteration. */
  protected readonly series: ParserMethod<[], Operand> = this.RULE(
    "series",
    () => {
      const first = this.CONSUME(Repeat);
      const count = this.SUBRULE(this.expression);
      this.CONSUME(As);
      const variable = wordOf(this.CONSUME(Identifier));
      const items: Operand[] = [];
      this.CONSUME(OpenRound);
      this.AT_LEAST_ONE_SEP({ SEP: Comma, DEF: () => items.push(this.SUBRULE(this.operand)) });
      const last = this.CONSUME(CloseRound);
      return { kind: "series" as const, count, variable, items, span: spanBetween(first, last) };
    },
    inLine,
  );

  protected readonly literal: ParserMethod<[], ValueTree> = this.RULE(
    "literal",
    () =>
      this.OR([
        { ALT: () => this.SUBRULE(this.list) },
        {
          ALT: () => {
            const expression = this.SUBRULE(this.expression);
            return { kind: "expression" as const, expression, span: expression.span };
          },
        },
      ]),
    inLine,
  );

  /** A literal whose dtype follows from the other operands; it cannot begin with a name, as attributes do. */
  protected readonly bareLiteral: ParserMethod<[], ValueTree> = this.RULE(
    "bareLiteral",
    () =>
      this.OR([
        { ALT: () => this.SUBRULE(this.list) },
        {
          ALT: () => {
            const first = this.LA(1);
            let sign: Term["sign"] = 1;
            this.OPTION(() => {
              this.CONSUME(Minus);
              sign = -1;
            });
            const numeral = this.CONSUME(Numeral);
            const span = spanBetween(first, numeral);
            const terms = [{ sign, factors: [Number(numeral.image)] }];
            return { kind: "expression" as const, expression: { span, terms }, span };
          },
        },
      ]),
    inLine,
  );

  protected readonly reference: ParserMethod<[], Reference> = this.RULE(
    "reference",
    () => {
      const value = this.CONSUME(Value);
      let last = value;
      const index = this.OPTION(() => {
        this.CONSUME(OpenSquare);
        const expression = this.SUBRULE(this.expression);
        last = this.CONSUME(CloseSquare);
        return expression;
      });
      return { name: wordOf(value, value.image.slice(1)), index, span: spanBetween(value, last) };
    },
    inLine,
  );

  protected readonly value: ParserMethod<[], ValueTree> = this.RULE(
    "value",
    () =>
      this.OR([
        { ALT: () => this.SUBRULE(this.quoted) },
        { ALT: () => this.SUBRULE(this.list) },
        { ALT: () => this.SUBRULE(this.distribution) },
        { ALT: () => this.SUBRULE(this.sized) },
        {
          ALT: () => {
            const expression = this.SUBRULE(this.expression);
            return { kind: "expression" as const, expression, span: expression.span };
          },
        },
      ]),
    inLine,
  );

  protected readonly distribution: ParserMethod<[], ValueTree> = this.RULE(
    "distribution",
    () => {
      const name = this.CONSUME(Identifier);
      const args: Argument[] = [];
      this.CONSUME(OpenRound);
      this.MANY_SEP({
        SEP: Comma,
        DEF: () => {
          const arg = wordOf(this.CONSUME2(Identifier));
          this.CONSUME(Equals);
          args.push({ name: arg, value: this.SUBRULE(this.literal) });
        },
      });
      const close = this.CONSUME(CloseRound);
      return { kind: "call" as const, name: wordOf(name), args, span: spanBetween(name, close) };
    },
    inLine,
  );

  protected readonly sized: ParserMethod<[], ValueTree> = this.RULE(
    "sized",
    () => {
      const name = this.CONSUME(Identifier);
      this.CONSUME(Equals);
      const size = this.SUBRULE(this.expression);
      return { kind: "sized" as const, name: wordOf(name), size, span: spanBetween(name, this.LA(0)) };
    },
    inLine,
  );

  /** A text, or a sized axis whose name needs quotes. */
  protected readonly quoted: ParserMethod<[], ValueTree> = this.RULE(
    "quoted",
    () => {
      const text = this.CONSUME(Text);
      const size = this.OPTION(() => {
        this.CONSUME(Equals);
        return this.SUBRULE(this.expression);
      });
      const span = spanBetween(text, this.LA(0));
      return size
        ? { kind: "sized" as const, name: wordOf(text), size, span }
        : { kind: "text" as const, text: wordOf(text), span };
    },
    inLine,
  );

  protected readonly list: ParserMethod<[], ValueTree> = this.RULE(
    "list",
    () => {
      const first = this.LA(1);
      const items = this.OR([
        {
          ALT: () => {
            const numbers = this.CONSUME(NumberList).payload as readonly number[];
            return { kind: "numbers" as const, numbers };
          },
        },
        {
          ALT: () => {
            const items: ValueTree[] = [];
            this.CONSUME(OpenSquare);
            this.MANY_SEP({ SEP: Comma, DEF: () => items.push(this.SUBRULE(this.value)) });
            this.CONSUME(CloseSquare);
            return { kind: "list" as const, items };
          },
        },
      ]);
      const index = this.OPTION(() => {
        this.CONSUME2(OpenSquare);
        const expression = this.SUBRULE(this.expression);
        this.CONSUME2(CloseSquare);
        return expression;
      });
      return { ...items, index, span: spanBetween(first, this.LA(0)) };
    },
    inLine,
  );

  protected readonly expression: ParserMethod<[], Expression> = this.RULE(
    "expression",
    () => {
      const first = this.LA(1);
      const terms: Term[] = [];
      let sign: Term["sign"] = 1;
      this.OPTION(() => {
        this.CONSUME(Minus);
        sign = -1;
      });
      terms.push({ sign, factors: this.SUBRULE(this.product) });
      this.MANY(() => {
        const sign = this.OR([
          { ALT: () => alternative<Term["sign"]>(1, this.CONSUME(Plus)) },
          { ALT: () => alternative<Term["sign"]>(-1, this.CONSUME2(Minus)) },
        ]);
        terms.push({ sign, factors: this.SUBRULE2(this.product) });
      });
      return { span: spanBetween(first, this.LA(0)), terms };
    },
    inLine,
  );

  protected readonly product: ParserMethod<[], (number | string)[]> = this.RULE(
    "product",
    () => {
      const factors: (number | string)[] = [];
      this.AT_LEAST_ONE_SEP({
        SEP: Star,
        DEF: () =>
          this.OR([
            { ALT: () => factors.push(Number(this.CONSUME(Numeral).image)) },
            { ALT: () => factors.push(this.CONSUME(Identifier).image) },
          ]),
      });
      return factors;
    },
    inLine,
  );

  readonly type: ParserMethod<[], TypeTree> = this.RULE(
    "type",
    () => {
      const dtype = this.CONSUME(Identifier);
      const axes: { name: Word; size: Expression }[] = [];
      this.CONSUME(OpenSquare);
      this.MANY_SEP({
        SEP: Comma,
        DEF: () => {
          const name = this.SUBRULE(this.label);
          this.CONSUME(Equals);
          axes.push({ name, size: this.SUBRULE(this.expression) });
        },
      });
      const close = this.CONSUME(CloseSquare);
      return { dtype: wordOf(dtype), axes, span: spanBetween(dtype, close) };
    },
    inLine,
  );

  protected readonly label: ParserMethod<[], Word> = this.RULE(
    "label",
    () => this.OR([{ ALT: () => wordOf(this.CONSUME(Identifier)) }, { ALT: () => wordOf(this.CONSUME(Text)) }]),
    inLine,
  );
}
