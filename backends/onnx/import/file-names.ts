/** Names of a file, as messages, parameters and graphs may have them. */

/** A name of the file for a message or a graph: short, and without characters that steer a terminal. */
export const shownName = (name: string): string => {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is looked for
  const plain = name.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\ud800-\udfff]/g, "_");
  return plain.length > 160 ? `${plain.slice(0, 157)}...` : plain;
};

/** "/encoder/layer.0/MatMul:weight" as "encoder.layer.0.MatMul_weight": parts of letters, digits and _ between dots. */
export const parameterPath = (name: string): string => {
  const parts = shownName(name)
    .split(/[./]+/)
    .map((part) => part.replace(/[^\w-]+/g, "_").replace(/^-/, "_"));
  const path = parts.filter((part) => part !== "").join(".");
  return path === "" ? "weight" : path;
};

/** A name that the graph's text may have. */
export const graphName = (name: string): string => {
  const plain = shownName(name)
    .replace(/\W+/g, "_")
    .replace(/^(?=\d)/, "_")
    .replace(/^_+$/, "");
  return plain === "" ? "model" : plain;
};
