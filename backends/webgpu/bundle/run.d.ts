/** Runs a bundle in a web page: `heddle/bundle`. */

/** A bundle loaded on a device. */
export interface LoadedBundle {
  /** Describes inputs, outputs and weights with their axes, buffers, kernels. */
  readonly manifest: {
    readonly inputs: readonly BundleTensor[];
    readonly outputs: readonly BundleTensor[];
    /** Device requirements in WebGPU's names; limits are minimum values. */
    readonly requires: {
      readonly features: readonly string[];
      readonly limits: Readonly<Record<string, number>>;
      /** Subgroup sizes: the device must have only these, or, if `chosen`, may have others too. */
      readonly subgroups?: { readonly min: number; readonly max: number; readonly chosen: boolean };
    };
  };
  readonly device: unknown;
  /**
   * Runs once. Inputs by name, row-major in the axes of the manifest; an f16 input may be a Uint16Array of raw bits.
   * f16 outputs are a Float16Array, or a Float32Array where the browser has none.
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
 * Loads a bundle from the URL of its folder. `device` is your own GPUDevice; if omitted, one is requested with what the
 * bundle needs. `read` returns a file by name, as bytes or a byte stream; if omitted, files are fetched. Only a few
 * megabytes of weights are in memory at a time. Throws an error listing everything that the device lacks.
 */
export function loadBundle(
  base: string | URL,
  options?: {
    readonly device?: object;
    readonly read?: (name: string) => Promise<Uint8Array | ReadableStream<Uint8Array>>;
  },
): Promise<LoadedBundle>;
