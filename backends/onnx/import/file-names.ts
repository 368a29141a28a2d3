/** Sanitizes names from a file for messages, parameters and graphs. */

/** A file's name for display: shortened, and without control characters. */
export const shownName = (name: string): string => {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is looked for
  const plain = name.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\ud800-\udfff]/g, "_");
  return plain.length > 160 ? `${plain.slice(0, 157)}...` : plain;
};

/** "/encoder/layer.0/MatMul:weight" becomes "encoder.layer.0.MatMul_weight": dot-separated identifiers. */
export const parameterPath = (name: string): string => {
  const parts = shownName(name)
    .split(/[./]+/)
    .map((part) => part.replace(/[^\w-]+/g, "_").replace(/^-/, "_"));
  const path = parts.filter((part) => part !== "").join(".");
  return path === "" ? "weight" : path;
};

/** A valid graph name. */
export const graphName = (name: string): string => {
  const plain = shownName(name)
    .replace(/\W+/g, "_")
    .replace(/^(?=\d)/, "_")
    .replace(/^_+$/, "");
  return plain === "" ? "model" : plain;
};
