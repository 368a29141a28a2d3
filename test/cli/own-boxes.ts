/** A model of somebody else's, trained on records: the place of an object, from an image or from numbers. */
import * as h from "../../dsl/index.ts";

const [batch, box, coordinate] = [h.axis("batch", "batch"), h.axis("box", 3), h.axis("coordinate", 4)];
const image = h.imageAxes(8);
const config = { width: 6, seen: 1 };
type Settings = { readonly [K in keyof typeof config]: number };

/** boxes [batch, box, coordinate] in 0 to 1 */
function boxes(p: h.Params, c: Settings): h.AnyTensor {
  const embed = h.axis("embed", c.width);
  const ofImage = () => {
    const pixels = h.input("pixels", "f32", [batch, image.channel, image.row, image.column]);
    const map = h.convolution(p.scope("patches"), pixels, image.channel, embed, { kernel: 4, stride: 4, padding: 0 });
    return h.mean(map, [h.axisOf(map, "row"), h.axisOf(map, "column")]);
  };
  const token = h.axis("token", 6);
  const ofQuestion = () =>
    h.mean(
      h.embedding(p.scope("words"), h.input("question", "i32", [batch, token]), h.axis("vocab", 259), embed),
      token,
    );
  const x: h.AnyTensor = c.seen ? ofImage() : ofQuestion();
  return h.sigmoid(h.linear(p.scope("head"), h.gelu(x), [embed], [box, coordinate]));
}

export default h.defineModel<Settings>({
  name: "own-boxes",
  summary: "boxes from an image or a question",
  config,
  build: (p, c) => ({ boxes: boxes(p, c) }),
  stages: {
    boxes: (c, given) => {
      const { steps, batch: rows, rate } = h.settled({ steps: 4, batch: 2, rate: 0.05 }, given);
      return {
        config: c,
        ...{ steps, batch: rows, rate, startsFrom: ["nothing"] },
        stage: h.defineStage({
          name: "boxes",
          loss: (p) => {
            const target = h.input("boxes", "f32", [batch, box, coordinate]);
            const isBox = h.input("is_box", "f32", [batch, box]);
            const certainty = h.input("certainty", "f32", [batch]);
            const distance = h.sum(h.abs(h.sub(boxes(p, c), target)), coordinate);
            return { loss: h.mean(h.mul(certainty, h.sum(h.mul(distance, isBox), box)), batch) as never };
          },
          optimizer: { rate: h.constantRate(rate) },
        }),
        data: h.stageData<"records">({
          kind: "records",
          ...(c.seen ? { image: { size: 8, fit: "squash" } } : { vocabulary: 259 }),
          padding: {
            boxes: { axes: ["box"], value: 0, mask: "is_box" },
            ...(c.seen ? {} : { question: { axes: ["token"], value: 0 } }),
          },
        }),
      };
    },
  },
});
