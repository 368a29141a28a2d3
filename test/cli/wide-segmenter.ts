/** A segmenter of wide windows: the class of a pixel is its strongest colour, of every second row and column. */
import * as h from "../../dsl/index.ts";

const config = { rows: 8, columns: 20 };

export default h.defineModel<typeof config>({
  name: "wide-segmenter",
  summary: "the strongest colour of each pixel",
  config,
  build: (p, c) => {
    const image = h.imageAxes([c.rows, c.columns]);
    const pixels = h.input("pixels", "f32", [h.axis("batch", "batch"), image.channel, image.row, image.column]);
    const kind = h.axis("class", 3);
    const options = { kernel: 1, stride: 2, padding: 0 };
    return { scores: h.convolution(p.scope("head"), pixels, image.channel, kind, options) };
  },
  modes: { segment: { output: "scores", stride: 0.5, firstClass: 1 } },
  preprocessing: { mean: [0, 0, 0], std: [1, 1, 1], interpolation: "bilinear" },
});
