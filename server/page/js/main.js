// The page's beginning: what is remembered or linked to, then the sessions, then the view.
import { html, render } from "./lib.js";
import { fromLink } from "./link.js";
import { remember, remembered } from "./memory.js";
import { begin } from "./state.js";
import { run } from "./studio.js";
import { App } from "./app.js";
import { linked } from "./notices.js";

const link = fromLink(location.hash);
const before = link?.doc ?? remembered();
if (before) begin(before);
if (link) {
  linked.value = link;
  window.history.replaceState(null, "", location.pathname + location.search);
}
remember();
run();
render(html`<${App} />`, document.getElementById("app"));
