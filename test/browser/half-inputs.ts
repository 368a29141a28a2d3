/** A model whose input and weights are f16 and whose sizes are odd. */
import * as h from "../../dsl/index.ts";

const [row, embed, out] = [h.axis("row", 3), h.axis("embed", 7), h.axis("out", 5)];

export default h.defineModel({
  name: "half-inputs",
  summary: "a projection of halves",
  config: {},
  build: (p) => {
    const x = h.cast(h.input("x", "f16", [row, embed]), "f32");
    const seen = h.input("seen", "bool", [row]);
    const y = h.contract(x, p.parameter("w", [out, embed], h.normal(0.5)), embed);
    return { y: h.select(seen, y, h.mul(y, -2)) };
  },
});
