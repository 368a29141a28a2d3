/** Messages of syntax errors: what is expected, and what was found. */
import { EOF, type IParserErrorMessageProvider, type IToken, type TokenType, tokenLabel } from "chevrotain";
import { NewLine, shownImage } from "./tokens.ts";

const found = (token: IToken): string =>
  token.tokenType === NewLine || token.tokenType === EOF
    ? `the ${token.tokenType === EOF ? "text" : "line"} ends`
    : `there is ${JSON.stringify(shownImage(token))}`;

const expected = (types: readonly TokenType[]): string =>
  [...new Set(types.map((t) => (t === EOF ? "the end of the text" : tokenLabel(t))))]
    .join(", ")
    .replace(/, ([^,]*)$/, " or $1");

export const messages: IParserErrorMessageProvider = {
  buildMismatchTokenMessage: ({ expected: type, actual }) => `${expected([type])} is expected, but ${found(actual)}`,
  buildNotAllInputParsedMessage: ({ firstRedundant }) => `nothing more is expected, but ${found(firstRedundant)}`,
  buildNoViableAltMessage: ({ expectedPathsPerAlt, actual }) =>
    `${expected(expectedPathsPerAlt.flatMap((paths) => paths.map((p) => p[0]!)))} is expected, but ${found(actual[0]!)}`,
  buildEarlyExitMessage: ({ expectedIterationPaths, actual }) =>
    `${expected(expectedIterationPaths.map((p) => p[0]!))} is expected, but ${found(actual[0]!)}`,
};
