/** What runs a bundle in a page: `heddle/bundle`. */

/** A bundle on a device. */
export interface LoadedBundle {
  /** What it is: inputs, outputs and weights with their axes, buffers, kernels. */
  readonly manifest: {
    readonly inputs: readonly BundleTensor[];
    readonly outputs: readonly BundleTensor[];
    /** What the device must have, in WebGPU's names; each limit at least so large. */
    readonly requires: {
      readonly features: readonly string[];
      readonly limits: Readonly<Record<string, number>>;
      /** Lanes of its subgroups: only these, or these among others where kernels have `chosen` them. */
      readonly subgroups?: { readonly min: number; readonly max: number; readonly chosen: boolean };
    };
  };
  readonly device: unknown;
  /**
   * Runs once. Inputs by name, row-major in the axes of the manifest; one of f16 may be a Uint16Array of the bits of halves.
   * Outputs of f16 are a Float16Array, or a Float32Array where the browser has none.
   */
  run(inputs: Readonly<Record<string, ArrayLike<number>>>): Promise<Record<string, ArrayLike<number>>>;
  /** Frees its buffers; the device stays open. */
  dispose(): void;
}

/** An input or an output. */
export interface BundleTensor {
  readonly name: string;
  readonly dtype: string;
  readonly axes: readonly { readonly name: string; readonly size: number }[];
}

/**
 * Loads a bundle from the URL of its folder. `device` is a GPUDevice of yours; without, one is requested with what the bundle
 * needs. `read` gives a file by its name, as bytes or a stream of them; without, it is fetched. Of the weights a few megabytes
 * are in memory at once. Throws an error with all that the device lacks.
 */
export function loadBundle(
  base: string | URL,
  options?: {
    readonly device?: object;
    readonly read?: (name: string) => Promise<Uint8Array | ReadableStream<Uint8Array>>;
  },
): Promise<LoadedBundle>;
