// Small drawings, 20 units wide, in strokes of the text's colour.
import { html } from "../lib.js";

const PATHS = {
  undo: "M7.5 5 4 8.5 7.5 12M4.5 8.5H12a4 4 0 0 1 0 8H9",
  redo: "M12.5 5 16 8.5 12.5 12M15.5 8.5H8a4 4 0 0 0 0 8h3",
  more: "M5 10h.01M10 10h.01M15 10h.01",
  plus: "M10 4.5v11M4.5 10h11",
  close: "M5.5 5.5l9 9M14.5 5.5l-9 9",
  up: "M5.5 12 10 7.5l4.5 4.5",
  down: "M5.5 8l4.5 4.5L14.5 8",
  right: "M8 5.5l4.5 4.5L8 14.5",
  link: "M8.5 11.5a3.2 3.2 0 0 0 4.5 0l2.6-2.6a3.2 3.2 0 0 0-4.5-4.5l-.9.9M11.5 8.5a3.2 3.2 0 0 0-4.5 0l-2.6 2.6a3.2 3.2 0 0 0 4.5 4.5l.9-.9",
  sliders: "M4 6.5h7M15 6.5h1M4 13.5h1M9 13.5h7M13 4.5v4M7 11.5v4",
  find: "M10 3.2v2.3M10 14.5v2.3M3.2 10h2.3M14.5 10h2.3M10 6a4 4 0 1 0 0 8 4 4 0 0 0 0-8M10 9.99h.01",
  one: "M4 4h12v12H4z",
  split: "M4 4h12v12H4zM10 2.5v15M7.6 10H7.5M12.5 10h-.1",
  strengths: "M2.5 7h4v6h-4zM8 6h4v8H8zM13.5 5h4v10h-4z",
  strip: "M3 3.5h6v6H3zM11 3.5h6v6h-6zM3 11.5h6v5H3zM11 11.5h6v5h-6z",
  grid: "M3.5 3.5h13v13h-13zM3.5 7.8h13M3.5 12.2h13M7.8 3.5v13M12.2 3.5v13",
  eye: "M2.5 10S5.2 5 10 5s7.5 5 7.5 5-2.7 5-7.5 5-7.5-5-7.5-5zM10 7.8a2.2 2.2 0 1 0 0 4.4 2.2 2.2 0 0 0 0-4.4",
  next: "M4 10h11M11 6l4 4-4 4",
  check: "M4.5 10.5 8.5 14l7-8",
  photo: "M3.5 4.5h13v11h-13zM3.5 13l3.5-3.5 3 3 2.5-2.5 4 4M12.6 7.6h.01",
  camera: "M3 6.5h3l1.2-2h5.6l1.2 2h3v9H3zM10 8.2a2.6 2.6 0 1 0 0 5.2 2.6 2.6 0 0 0 0-5.2",
  back: "M3.5 4.5h13v11h-13zM7 12.5v-5h5v5z",
  download: "M10 3.5v9M6.5 9.5 10 13l3.5-3.5M4 16.5h12",
  globe: "M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14M3.3 8h13.4M3.3 12h13.4",
};

/** @param {{name: keyof typeof PATHS, size?: number}} given */
export const Icon = ({ name, size = 20 }) => html`
  <svg class="icon" viewBox="0 0 20 20" width=${size} height=${size} aria-hidden="true">
    <path d=${PATHS[name]} />
  </svg>
`;

/** A button that shows a drawing and says its name. */
export const IconButton = ({ icon, label, size, ...other }) => html`
  <button type="button" class="icon-button" aria-label=${label} title=${label} ...${other}>
    <${Icon} name=${icon} size=${size} />
  </button>
`;
