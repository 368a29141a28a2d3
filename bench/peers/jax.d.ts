/** The part of @jax-js/jax used by the benchmarks, so that the checkout type-checks without its peers installed. */
declare module "@jax-js/jax" {
  interface Array {
    /** Another reference to the same array: every function consumes its array arguments. */
    readonly ref: this;
    readonly shape: number[];
    add(other: Array | number): Array;
    sub(other: Array | number): Array;
    mul(other: Array | number): Array;
    div(other: Array | number): Array;
    neg(): Array;
    sum(axis?: number): Array;
    mean(axis?: number): Array;
    reshape(shape: number[]): Array;
    transpose(order: number[]): Array;
    slice(...index: (number | [] | [number] | [number, number] | null)[]): Array;
    data(): Promise<Float32Array>;
    dispose(): void;
  }
  type Tree = Array | { [key: string]: Tree };
  interface ArrayOptions {
    readonly shape?: number[];
  }
  const numpy: {
    array(values: Float32Array | Int32Array, options?: ArrayOptions): Array;
    zeros(shape: number[]): Array;
    matmul(a: Array, b: Array): Array;
    concatenate(parts: Array[], axis: number): Array;
    broadcastTo(x: Array, shape: number[]): Array;
    sqrt(x: Array): Array;
    exp(x: Array): Array;
    square(x: Array): Array;
  };
  const nn: {
    gelu(x: Array, options: { readonly approximate: boolean }): Array;
    standardize(x: Array, axis: number, options: { readonly epsilon: number }): Array;
    logSoftmax(x: Array, axis: number): Array;
    oneHot(x: Array, classes: number): Array;
    /** Queries, keys and values are [batch, token, heads, width]. */
    dotProductAttention(q: Array, k: Array, v: Array): Array;
  };
  const tree: { ref<T extends Tree>(x: T): T };
  function init(device: string): Promise<string[]>;
  function defaultDevice(device: string): string;
  function jit<F extends (...args: never[]) => Tree>(f: F): F;
  function valueAndGrad<P extends Tree, A extends Array[]>(
    f: (first: P, ...rest: A) => Array,
  ): (first: P, ...rest: A) => [Array, P];
}
