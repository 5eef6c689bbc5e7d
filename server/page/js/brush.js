// "Only here": where a photo may change, painted over it. Painted small, handed over in its size.
import { signal } from "./lib.js";

const MOST = 1024; // pixels of the longer side of what is painted on

/** What is painted for a photo of a size: opaque where it may change. */
export class Mask {
  /** @param {number} width @param {number} height of the photo */
  constructor(width, height) {
    this.size = [width, height];
    this.scale = Math.min(1, MOST / Math.max(width, height));
    this.canvas = document.createElement("canvas");
    this.canvas.width = Math.round(width * this.scale);
    this.canvas.height = Math.round(height * this.scale);
    this.pen = this.canvas.getContext("2d", { willReadFrequently: true });
    /** Whether something is painted; where there was a rubber, once it rests. */
    this.painted = signal(false);
  }

  /** A stroke, in pixels of the photo. @param {[number, number]} from @param {[number, number]} to
   * @param {number} breadth @param {boolean} erases */
  stroke(from, to, breadth, erases) {
    const { pen, scale } = this;
    pen.globalCompositeOperation = erases ? "destination-out" : "source-over";
    pen.lineCap = "round";
    pen.lineWidth = breadth * scale;
    pen.beginPath();
    pen.moveTo(from[0] * scale, from[1] * scale);
    pen.lineTo(to[0] * scale, to[1] * scale);
    pen.stroke();
    this.painted.value ||= !erases;
  }

  /** A stroke has ended: it may have wiped off all there was. */
  rest() {
    const { data } = this.pen.getImageData(0, 0, this.canvas.width, this.canvas.height);
    this.painted.value = data.some((value, at) => at % 4 === 3 && value);
  }

  clear() {
    this.pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.painted.value = false;
  }

  /** White on black in the photo's size, its edge softened, as the service reads it.
   * @returns {Promise<Blob>} */
  async blob() {
    const [width, height] = this.size;
    const whole = Object.assign(document.createElement("canvas"), { width, height });
    const pen = whole.getContext("2d");
    pen.fillRect(0, 0, width, height);
    const white = document.createElement("canvas"); // the paint's shape, whatever its colour
    white.width = this.canvas.width;
    white.height = this.canvas.height;
    const over = white.getContext("2d");
    over.drawImage(this.canvas, 0, 0);
    over.globalCompositeOperation = "source-in";
    over.fillStyle = "#fff";
    over.fillRect(0, 0, white.width, white.height);
    pen.filter = `blur(${Math.max(1, Math.round(Math.max(width, height) / 300))}px)`;
    pen.imageSmoothingQuality = "high";
    pen.drawImage(white, 0, 0, width, height);
    const blob = await new Promise((resolve) => whole.toBlob(resolve, "image/png"));
    if (!blob) throw { kind: "brushTooLarge" }; // for a canvas of this browser
    return blob;
  }
}
