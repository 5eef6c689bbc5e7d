// The page's beginning: what is remembered or linked to, then the sessions, then the view.
import { html, render } from "./lib.js";
import { fromLink } from "./link.js";
import { remember, remembered } from "./memory.js";
import { begin, doc, step } from "./state.js";
import { run } from "./studio.js";
import { App } from "./app.js";
import { linked, photoLost } from "./notices.js";

const before = remembered();
if (before) begin(before.doc);
if (before?.isLost) photoLost.value = "photoEnded";

/** Takes up what a link holds, as a step that can be undone. */
function takeLink() {
  const link = fromLink(location.hash);
  if (!link) return;
  window.history.replaceState(null, "", location.pathname + location.search);
  linked.value = link;
  if (before || doc.peek().edits.length) step("linked", { ...link.doc, photo: null });
  else begin(link.doc);
}
takeLink();
addEventListener("hashchange", takeLink);
remember();
run();
render(html`<${App} />`, document.getElementById("app"));
