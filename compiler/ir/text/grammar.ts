/**
 * The grammar of the text form, with error recovery: a line that does not parse is one mistake, and parsing continues.
 */
import { EOF, type IToken, type ParserMethod } from "chevrotain";
import type { Mistake } from "../../diagnostics/render.ts";
import {
  As,
  Call,
  Callable,
  CloseCurly,
  CloseRound,
  Colon,
  Comma,
  DotDot,
  Equals,
  FunctionWord,
  GraphWord,
  Identifier,
  In,
  Multiple,
  NewLine,
  Numeral,
  Of,
  OpenCurly,
  OpenRound,
  Repeat,
  Return,
  Stray,
  SymbolWord,
  Text,
  Updates,
  Value,
  With,
} from "./tokens.ts";
import {
  type Argument,
  type Call as CallTree,
  type Definition,
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
  spanOf,
  type TypeTree,
  type Word,
  wordOf,
} from "./tree.ts";
import { alternative, inLine, ValueParser } from "./value-grammar.ts";

/** The recovery value of a section or header that does not parse. */
const nothing = { recoveryValueFunc: (): never => undefined as never };

/** The grammar of files, sections and statements. */
class GraphParser extends ValueParser {
  constructor() {
    super();
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
  /** Syntax errors. */
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

/** Parses a type on its own, such as one at the end of a broken line; undefined if it is broken too. */
export function parseType(tokens: IToken[]): TypeTree | undefined {
  parser ??= new GraphParser();
  parser.input = tokens;
  const type = parser.type();
  return parser.errors.length === 0 ? type : undefined;
}

/** The end of a text has no position: such a mistake is shown at the last token. */
function mistakeAt(token: IToken, tokens: readonly IToken[], message: string): Mistake {
  const at = Number.isFinite(token.startLine) && token.tokenType !== EOF ? token : tokens.at(-1);
  return { ...(at ? spanOf(at) : { line: 1, column: 1, length: 1 }), message };
}
