/** The grammar of the text form, with recovery: a line that does not parse is one mistake, and the next line goes on. */
import {
  EmbeddedActionsParser,
  EOF,
  type IParserErrorMessageProvider,
  type IToken,
  type ParserMethod,
  type TokenType,
  tokenLabel,
} from "chevrotain";
import type { Mistake } from "../../diagnostics/render.ts";
import {
  As,
  Call,
  Callable,
  CloseCurly,
  CloseRound,
  CloseSquare,
  Colon,
  Comma,
  DotDot,
  Equals,
  FunctionWord,
  GraphWord,
  Identifier,
  In,
  Minus,
  Multiple,
  NewLine,
  Numeral,
  Of,
  OpenCurly,
  OpenRound,
  OpenSquare,
  Plus,
  Repeat,
  Return,
  Star,
  Stray,
  SymbolWord,
  Text,
  Updates,
  Value,
  vocabulary,
  With,
} from "./tokens.ts";
import {
  type Argument,
  type Call as CallTree,
  type Definition,
  type Expression,
  type FileTree,
  type Operand,
  type Operation,
  type Placed,
  type Reference,
  type RepeatHeader,
  type Result,
  type Section,
  type SectionHead,
  type SignatureEntry,
  type Statement,
  type SymbolTree,
  spanBetween,
  spanOf,
  type Term,
  type TypeTree,
  type Value as ValueTree,
  type Word,
  wordOf,
} from "./tree.ts";

const found = (token: IToken): string =>
  token.tokenType === NewLine || token.tokenType === EOF
    ? `the ${token.tokenType === EOF ? "text" : "line"} ends`
    : `there is ${JSON.stringify(token.image)}`;

const expected = (types: readonly TokenType[]): string =>
  [...new Set(types.map((t) => (t === EOF ? "the end of the text" : tokenLabel(t))))]
    .join(", ")
    .replace(/, ([^,]*)$/, " or $1");

const messages: IParserErrorMessageProvider = {
  buildMismatchTokenMessage: ({ expected: type, actual }) => `${expected([type])} is expected, but ${found(actual)}`,
  buildNotAllInputParsedMessage: ({ firstRedundant }) => `nothing more is expected, but ${found(firstRedundant)}`,
  buildNoViableAltMessage: ({ expectedPathsPerAlt, actual }) =>
    `${expected(expectedPathsPerAlt.flatMap((paths) => paths.map((p) => p[0]!)))} is expected, but ${found(actual[0]!)}`,
  buildEarlyExitMessage: ({ expectedIterationPaths, actual }) =>
    `${expected(expectedIterationPaths.map((p) => p[0]!))} is expected, but ${found(actual[0]!)}`,
};

/** Only whole statements, headers and sections are places to go on from: inside a line there is nothing to save. */
const inLine = { resyncEnabled: false };

/** What stands for a section or a header that could not be read. */
const nothing = { recoveryValueFunc: (): never => undefined as never };

/** The value that a token stands for. */
const alternative = <T>(value: T, _token: IToken): T => value;

class GraphParser extends EmbeddedActionsParser {
  constructor() {
    super(vocabulary, { recoveryEnabled: true, maxLookahead: 2, errorMessageProvider: messages });
    this.performSelfAnalysis();
  }

  readonly file: ParserMethod<[], FileTree> = this.RULE("file", () => {
    const sections: Section[] = [];
    const symbols: SymbolTree[] = [];
    this.MANY(() => {
      this.OR([
        { ALT: () => symbols.push(this.SUBRULE(this.symbol)) },
        {
          ALT: () => {
            sections.push(this.SUBRULE(this.section));
            this.CONSUME(NewLine);
          },
        },
      ]);
    });
    return { symbols, sections };
  });

  private readonly symbol: ParserMethod<[], SymbolTree> = this.RULE(
    "symbol",
    () => {
      this.CONSUME(SymbolWord);
      const name = wordOf(this.CONSUME(Identifier));
      const number = (token: IToken) => Number(token.image);
      const range = this.OPTION(() => {
        this.CONSUME(In);
        const min = number(this.CONSUME(Numeral));
        this.CONSUME(DotDot);
        return { min, max: this.OPTION2(() => number(this.CONSUME2(Numeral))) };
      });
      const multipleOf = this.OPTION3(() => {
        this.CONSUME(Multiple);
        this.CONSUME(Of);
        return number(this.CONSUME3(Numeral));
      });
      this.CONSUME(NewLine);
      return { name, min: range?.min, max: range?.max, multipleOf };
    },
    nothing,
  );

  private readonly section: ParserMethod<[], Section> = this.RULE(
    "section",
    () => {
      const from = this.LA(1).startOffset;
      const head = this.SUBRULE(this.sectionHead);
      const to = this.LA(1).startOffset;
      const body = this.SUBRULE(this.body);
      return { head, from, to, body, end: spanOf(this.CONSUME(CloseCurly)) };
    },
    inLine,
  );

  private readonly sectionHead: ParserMethod<[], SectionHead | undefined> = this.RULE(
    "sectionHead",
    () => {
      const kind = this.OR([
        { ALT: () => alternative<SectionHead["kind"]>("graph", this.CONSUME(GraphWord)) },
        { ALT: () => alternative<SectionHead["kind"]>("function", this.CONSUME(FunctionWord)) },
      ]);
      const name = this.CONSUME(Callable);
      const inputs: SignatureEntry[] = [];
      this.CONSUME(OpenRound);
      this.MANY_SEP({ SEP: Comma, DEF: () => inputs.push(this.SUBRULE(this.signatureEntry)) });
      this.CONSUME(CloseRound);
      this.CONSUME(OpenCurly);
      return { kind, name: wordOf(name, name.image.slice(1)), inputs };
    },
    nothing,
  );

  private readonly signatureEntry: ParserMethod<[], SignatureEntry> = this.RULE(
    "signatureEntry",
    () => {
      const role = this.OPTION(() => wordOf(this.CONSUME(Identifier)));
      const value = this.CONSUME(Value);
      const name = this.OPTION2(() => wordOf(this.CONSUME(Text)));
      const type = this.OPTION3(() => {
        this.CONSUME(Colon);
        return this.SUBRULE(this.type);
      });
      return { role, value: wordOf(value, value.image.slice(1)), name, type };
    },
    inLine,
  );

  private readonly body: ParserMethod<[], Placed[]> = this.RULE(
    "body",
    () => {
      const body: Placed[] = [];
      this.CONSUME(NewLine);
      this.MANY(() => {
        const from = this.LA(1).startOffset;
        const statement = this.SUBRULE(this.statement);
        body.push({ statement, from, to: this.LA(1).startOffset });
        this.CONSUME2(NewLine);
      });
      return body;
    },
    inLine,
  );

  private readonly statement: ParserMethod<[], Statement> = this.RULE(
    "statement",
    () =>
      this.OR([
        { ALT: () => this.SUBRULE(this.definition) },
        { ALT: () => this.SUBRULE(this.results) },
        { ALT: () => this.SUBRULE(this.repetition) },
        { ALT: () => alternative<Statement>({ kind: "faulty" }, this.CONSUME(Stray)) },
      ]),
    { recoveryValueFunc: (): Statement => ({ kind: "faulty" }) },
  );

  private readonly definition: ParserMethod<[], Definition> = this.RULE(
    "definition",
    () => {
      const targets: Word[] = [];
      this.AT_LEAST_ONE_SEP({ SEP: Comma, DEF: () => targets.push(this.SUBRULE(this.target)) });
      this.CONSUME(Equals);
      const operation = this.OR([{ ALT: () => this.SUBRULE(this.call) }, { ALT: () => this.SUBRULE(this.operation) }]);
      const types: TypeTree[] = [];
      this.OPTION(() => {
        this.CONSUME(Colon);
        this.AT_LEAST_ONE_SEP2({ SEP: Comma, DEF: () => types.push(this.SUBRULE(this.type)) });
      });
      return { kind: "definition" as const, targets, operation, types };
    },
    inLine,
  );

  private readonly target: ParserMethod<[], Word> = this.RULE(
    "target",
    () => {
      const token = this.CONSUME(Value);
      return wordOf(token, token.image.slice(1));
    },
    inLine,
  );

  private readonly call: ParserMethod<[], CallTree> = this.RULE(
    "call",
    () => {
      this.CONSUME(Call);
      const callee = this.CONSUME(Callable);
      const operands: Operand[] = [];
      this.CONSUME(OpenRound);
      this.MANY_SEP({ SEP: Comma, DEF: () => operands.push(this.SUBRULE(this.operand)) });
      this.CONSUME(CloseRound);
      const path = this.OPTION(() => {
        this.CONSUME(As);
        return wordOf(this.CONSUME(Text));
      });
      return { callee: wordOf(callee, callee.image.slice(1)), operands, path };
    },
    inLine,
  );

  private readonly operation: ParserMethod<[], Operation> = this.RULE(
    "operation",
    () => {
      const op = wordOf(this.CONSUME(Identifier));
      const name = this.OPTION(() => wordOf(this.CONSUME(Text)));
      const operands: Operand[] = [];
      this.OPTION2(() => {
        operands.push(this.SUBRULE(this.operand));
        this.MANY(() => {
          this.CONSUME(Comma);
          operands.push(this.SUBRULE2(this.operand));
        });
      });
      const attributes: Argument[] = [];
      this.MANY2(() => {
        const attribute = wordOf(this.CONSUME2(Identifier));
        attributes.push({ name: attribute, value: this.SUBRULE(this.value) });
      });
      return { op, name, operands, attributes };
    },
    inLine,
  );

  private readonly operand: ParserMethod<[], Operand> = this.RULE(
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

  /** `repeat 48 as i (%grad[i])`: operands for each iteration. */
  private readonly series: ParserMethod<[], Operand> = this.RULE(
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

  private readonly literal: ParserMethod<[], ValueTree> = this.RULE(
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

  /** A literal whose dtype follows from the other operands: no name may begin it, for attributes begin so. */
  private readonly bareLiteral: ParserMethod<[], ValueTree> = this.RULE(
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

  private readonly reference: ParserMethod<[], Reference> = this.RULE(
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

  private readonly value: ParserMethod<[], ValueTree> = this.RULE(
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

  private readonly distribution: ParserMethod<[], ValueTree> = this.RULE(
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

  private readonly sized: ParserMethod<[], ValueTree> = this.RULE(
    "sized",
    () => {
      const name = this.CONSUME(Identifier);
      this.CONSUME(Equals);
      const size = this.SUBRULE(this.expression);
      return { kind: "sized" as const, name: wordOf(name), size, span: spanBetween(name, this.LA(0)) };
    },
    inLine,
  );

  /** A text, or a size of an axis whose name needs quotes. */
  private readonly quoted: ParserMethod<[], ValueTree> = this.RULE(
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

  private readonly list: ParserMethod<[], ValueTree> = this.RULE(
    "list",
    () => {
      const items: ValueTree[] = [];
      const first = this.CONSUME(OpenSquare);
      this.MANY_SEP({ SEP: Comma, DEF: () => items.push(this.SUBRULE(this.value)) });
      let last = this.CONSUME(CloseSquare);
      const index = this.OPTION(() => {
        this.CONSUME2(OpenSquare);
        const expression = this.SUBRULE(this.expression);
        last = this.CONSUME2(CloseSquare);
        return expression;
      });
      return { kind: "list" as const, items, index, span: spanBetween(first, last) };
    },
    inLine,
  );

  private readonly expression: ParserMethod<[], Expression> = this.RULE(
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

  private readonly product: ParserMethod<[], (number | string)[]> = this.RULE(
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

  private readonly results: ParserMethod<[], Statement> = this.RULE(
    "results",
    () => {
      const results: Result[] = [];
      this.CONSUME(Return);
      this.AT_LEAST_ONE_SEP({
        SEP: Comma,
        DEF: () => {
          const operand = this.SUBRULE(this.operand);
          const name = this.OPTION(() => {
            this.CONSUME(As);
            return this.SUBRULE(this.label);
          });
          const updates = this.OPTION2(() => {
            this.CONSUME(Updates);
            return this.SUBRULE2(this.label);
          });
          results.push({ operand, name, updates });
        },
      });
      return { kind: "return" as const, results };
    },
    inLine,
  );

  private readonly label: ParserMethod<[], Word> = this.RULE(
    "label",
    () => this.OR([{ ALT: () => wordOf(this.CONSUME(Identifier)) }, { ALT: () => wordOf(this.CONSUME(Text)) }]),
    inLine,
  );

  private readonly repetition: ParserMethod<[], Statement> = this.RULE(
    "repetition",
    () => {
      const header = this.SUBRULE(this.header);
      const headerTo = this.LA(1).startOffset;
      const body = this.SUBRULE(this.body);
      this.CONSUME(CloseCurly);
      return { kind: "repeat" as const, header, headerTo, body };
    },
    inLine,
  );

  private readonly header: ParserMethod<[], RepeatHeader | undefined> = this.RULE(
    "header",
    () => {
      this.CONSUME(Repeat);
      const count = this.SUBRULE(this.expression);
      this.CONSUME(As);
      const variable = wordOf(this.CONSUME(Identifier));
      const initial: { target: Reference; operand: Operand }[] = [];
      this.OPTION(() => {
        this.CONSUME(With);
        this.AT_LEAST_ONE_SEP({
          SEP: Comma,
          DEF: () => {
            const target = this.SUBRULE(this.reference);
            this.CONSUME(Equals);
            initial.push({ target, operand: this.SUBRULE(this.operand) });
          },
        });
      });
      this.CONSUME(OpenCurly);
      return { count, variable, initial };
    },
    nothing,
  );
}

let parser: GraphParser | undefined;

export interface Parsed {
  readonly file: FileTree;
  /** At most one for each line. */
  readonly mistakes: readonly Mistake[];
}

/** Parses the tokens of a file; every line that does not parse is one mistake. */
export function parseTokens(tokens: IToken[]): Parsed {
  parser ??= new GraphParser();
  parser.input = tokens;
  const { symbols, sections } = parser.file() ?? { symbols: [], sections: [] };
  const mistakes = parser.errors.map((e) => mistakeAt(e.token, tokens, e.message));
  const whole = <T>(list: readonly T[]) => list.filter((item) => item !== undefined);
  return { file: { symbols: whole(symbols), sections: whole(sections) }, mistakes };
}

/** Parses a type alone, as it stands at the end of a line that is otherwise broken; undefined where that is broken too. */
export function parseType(tokens: IToken[]): TypeTree | undefined {
  parser ??= new GraphParser();
  parser.input = tokens;
  const type = parser.type();
  return parser.errors.length === 0 ? type : undefined;
}

/** The end of a text has no place: the mistake is shown after the last token. */
function mistakeAt(token: IToken, tokens: readonly IToken[], message: string): Mistake {
  const at = Number.isFinite(token.startLine) && token.tokenType !== EOF ? token : tokens.at(-1);
  return { ...(at ? spanOf(at) : { line: 1, column: 1, length: 1 }), message };
}
