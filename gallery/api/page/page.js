// The page: four views of one gallery. It talks to /v1 of its own server alone.
import * as asking from "./asking.js";
import * as duplicates from "./duplicates.js";
import { $, guarded, say } from "./parts.js";
import * as people from "./people.js";
import * as promise from "./promise.js";
import * as talk from "./talk.js";

const shown = { ask: asking.begin, people: people.show, promise: promise.show };
const tabs = [...document.querySelectorAll("[data-view]")];

async function view(name) {
  for (const tab of tabs) {
    const mine = tab.dataset.view === name;
    if (mine) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
    $(tab.dataset.view).hidden = !mine;
  }
  say("");
  await shown[name]?.();
}

for (const tab of tabs) tab.addEventListener("click", guarded(() => view(tab.dataset.view)));
talk.start();
asking.start();
people.start();
duplicates.start();
