// Everyone who is enrolled: search, look at the faces, rename, merge with undo, erase.
import { $, ask, button, counted, element, fileOf, guarded, say } from "./parts.js";
import { call, picture } from "./talk.js";

const PAGE = 50;
let listed = 0;
let turn = 0;

export async function list(fresh = true) {
  const mine = ++turn;
  if (fresh) listed = 0;
  const wanted = $("search").value.trim();
  const found = await call(`/v1/identities?search=${encodeURIComponent(wanted)}&limit=${PAGE}&offset=${listed}`);
  if (mine !== turn) return; // a later search was quicker
  if (fresh) $("list").replaceChildren();
  $("list").append(...found.identities.map(row));
  listed += found.identities.length;
  $("more").hidden = listed >= found.total;
  const none = wanted ? `Nobody's name has "${wanted}" in it.` : "Nobody is enrolled yet: ask about a photo, then enrol its face.";
  $("count").textContent = found.total ? counted(found.total, "person", "people") : none;
}

function row(person) {
  const faces = element("ul");
  faces.className = "faces";
  const details = element("details", "", element("summary", counted(person.faces, "face")), faces);
  details.addEventListener("toggle", guarded(async () => {
    if (!details.open || faces.children.length) return;
    const { enrolled } = await call(`/v1/identities/${person.id}`);
    for (const face of enrolled) {
      const shown = await picture(face.face_id, `Enrolled face of ${person.name}`);
      faces.append(element("li", "", shown, element("span", fileOf(face.photo))));
    }
  }));
  return element("li", "", element("h2", person.name), details, element("p", "",
    button("Rename", `Rename ${person.name}`, () => rename(person)), " ",
    button("Merge", `Merge ${person.name} into someone else`, () => mergeInto(person)), " ",
    button("Erase", `Erase ${person.name}`, () => erase(person))));
}

async function rename(person) {
  const name = await ask(`Another name for ${person.name}`, "Rename", { entry: person.name });
  if (!name || name === person.name) return;
  await call(`/v1/identities/${person.id}`, { method: "PATCH", body: { name } });
  say(`${person.name} is called ${name} now.`);
  await list();
}

async function mergeInto(person) {
  const named = async (part) => (await call(`/v1/identities?limit=20&search=${encodeURIComponent(part)}`)).identities.filter((one) => one.id !== person.id).map((one) => one.name);
  const name = await ask(`${person.name} is the same person as whom? That name is kept.`, "Merge", { entry: "", named });
  if (!name) return;
  const found = (await call(`/v1/identities?limit=1000&search=${encodeURIComponent(name)}`)).identities;
  const kept = found.find((one) => one.name === name && one.id !== person.id);
  if (!kept) throw new Error(`Nobody else is called ${name}.`);
  await merge(kept, person, list);
  await list();
}

// after: what is to be shown again once it is undone.
export async function merge(kept, other, after) {
  const merged = await call(`/v1/identities/${kept.id}/merge`, { method: "POST", body: { others: [other.id] } });
  const undo = async () => {
    await call(`/v1/merges/${merged.merge_id}/undo`, { method: "POST" });
    say(`${other.name} and ${kept.name} are two people again.`);
    await after();
  };
  say(`${other.name} is ${kept.name} now, with ${counted(merged.faces, "face")}.`, { undo });
}

async function erase(person) {
  if (!(await ask(`Erase ${person.name} and ${counted(person.faces, "face")}? There is no undo.`, "Erase"))) return;
  await call(`/v1/identities/${person.id}`, { method: "DELETE" });
  say(`${person.name} is erased.`);
  await list();
}

export function start() {
  $("search").addEventListener("input", guarded(() => list()));
  $("more").addEventListener("click", guarded(() => list(false)));
}
