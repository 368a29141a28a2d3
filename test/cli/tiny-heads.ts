/** Two graphs with a head each, a parameter that neither reads, and one that the checkpoint layout has no rule for. */
import { axis, defineModel, input, linear, normal, type Params, same, scale } from "../../dsl/index.ts";

const [batch, inner, outer] = [axis("batch", "batch"), axis("inner", 3), axis("outer", 2)];
const head = (p: Params) => linear(p, input("x", "f32", [batch, inner]), [inner], [outer]);
const rules = (name: string) => [same(`${name}.weight`, "outer inner"), same(`${name}.bias`, "outer")];

export default defineModel({
  name: "tiny-heads",
  summary: "two linear heads",
  config: { factor: 2 },
  build: (p, { factor }) => {
    p.parameter("unread", [inner], normal(1));
    return { y: scale(head(p.scope("first")), factor) };
  },
  graphs: {
    other: { summary: "the second head", build: (p) => ({ y: head(p.scope("second")) }) },
    private: { summary: "a head without rules", build: (p) => ({ y: head(p.scope("third")) }) },
  },
  checkpoints: { layouts: [[...rules("first"), ...rules("second"), { path: "unread", name: "spare", axes: "inner" }]] },
});
