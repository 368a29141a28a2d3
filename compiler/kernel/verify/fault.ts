/** A fault in a kernel, and the statement, expression or declaration that causes it. */
export interface Fault {
  readonly message: string;
  readonly at: object;
}

export type Report = (at: object, message: string) => void;
