// The page: four views of one gallery. It calls only /v1 of its own server.
import * as accuracy from "./accuracy.js";
import * as duplicates from "./duplicates.js";
import { $, handler, showStatus } from "./elements.js";
import * as http from "./http.js";
import * as identities from "./identities.js";
import * as query from "./query.js";

const refresh = { query: query.showHint, people: identities.show, accuracy: accuracy.show };
const tabs = [...document.querySelectorAll("[data-view]")];

async function view(name) {
  for (const tab of tabs) {
    const isCurrent = tab.dataset.view === name;
    if (isCurrent) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
    $(tab.dataset.view).hidden = !isCurrent;
  }
  showStatus("");
  await refresh[name]?.();
}

for (const tab of tabs) tab.addEventListener("click", handler(() => view(tab.dataset.view)));
http.start();
query.start();
identities.start();
duplicates.start();
