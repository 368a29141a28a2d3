/** Something wrong with a kernel, and the statement, expression or declaration that is to blame. */
export interface Fault {
  readonly message: string;
  readonly at: object;
}

export type Report = (at: object, message: string) => void;
