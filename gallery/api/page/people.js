// Everyone who is enrolled: search, look at the faces, rename, merge with undo, erase.
import { ask, checkedName } from "./dialog.js";
import { $, button, counted, day, element, fileOf, guarded, row, say } from "./parts.js";
import { call, picture } from "./talk.js";

const PAGE = 50;
const MERGES = 20; // shown, the newest
let listed = 0;
let turn = 0;

export async function show() {
  await Promise.all([list(), merges()]);
}

async function list(fresh = true) {
  const mine = ++turn;
  if (fresh) listed = 0;
  const wanted = $("search").value.trim();
  const found = await call(`/v1/identities?search=${encodeURIComponent(wanted)}&limit=${PAGE}&offset=${listed}`);
  if (mine !== turn) return; // a later search was quicker
  if (fresh) $("list").replaceChildren();
  $("list").append(...found.identities.map(shown));
  listed += found.identities.length;
  $("more").hidden = listed >= found.total;
  const none = wanted ? `Nobody's name has "${wanted}" in it.` : "Nobody is enrolled yet: ask about a photo, then enrol its face.";
  $("count").textContent = found.total ? counted(found.total, "person", "people") : none;
}

function shown(person) {
  const faces = Object.assign(element("ul"), { className: "faces" });
  const details = element("details", "", element("summary", counted(person.faces, "face")), faces);
  details.addEventListener("toggle", guarded(async () => {
    if (!details.open || faces.children.length) return;
    const { enrolled } = await call(`/v1/identities/${person.id}`);
    faces.replaceChildren(...(await Promise.all(enrolled.map((face) => faceOf(person, face)))));
  }));
  const until = person.expires_at ? [Object.assign(element("p", `To be erased on ${day(person.expires_at)}`), { className: "soft" })] : [];
  return element("li", "", element("h2", person.name), ...until, details, row(
    button("Rename", `Rename ${person.name}`, () => rename(person)),
    button("Merge", `Merge ${person.name} into someone else`, () => mergeInto(person)),
    button("Erase", `Erase ${person.name}`, () => erase(person, show))));
}

async function faceOf(person, face) {
  const label = `Erase the face ${fileOf(face.photo)} of ${person.name}`;
  return element("li", "", await picture(face, `Enrolled face of ${person.name}`),
    button("Erase this face", label, () => eraseFace(face.face_id, person, show)));
}

async function rename(person) {
  const act = async (name) => {
    if (name !== person.name) await call(`/v1/identities/${person.id}`, { method: "PATCH", body: { name: checkedName(name) } });
    return name;
  };
  const name = await ask(`Another name for ${person.name}`, "Rename", { entry: person.name, act });
  if (!name || name === person.name) return;
  say(`${person.name} is called ${name} now.`);
  await show();
}

async function mergeInto(person) {
  const others = (await call("/v1/identities?limit=1000")).identities.filter((one) => one.id !== person.id);
  const act = async (name) => {
    if (!name) throw new Error("Give the name that is to be kept.");
    const found = (await call(`/v1/identities?limit=1000&search=${encodeURIComponent(name)}`)).identities;
    const kept = found.find((one) => one.name === name && one.id !== person.id);
    if (!kept) throw new Error(`Nobody else is called ${name}.`);
    await merge(kept, person, show);
    return kept;
  };
  const question = `${person.name} is the same person as whom? That name is kept.`;
  if (await ask(question, "Merge", { entry: "", names: others.map((one) => one.name), act })) await show();
}

// after: what is to be shown again once it is undone.
export async function merge(kept, other, after) {
  const merged = await call(`/v1/identities/${kept.id}/merge`, { method: "POST", body: { others: [other.id] } });
  const undo = button("Undo", "Undo that", () => unmerge(merged.merge_id, after));
  say(`${other.name} is ${kept.name} now, with ${counted(merged.faces, "face")}.`, { offers: [undo] });
}

async function unmerge(id, after) {
  const { identities } = await call(`/v1/merges/${id}/undo`, { method: "POST" });
  const [kept, ...others] = identities.map((one) => one.name);
  say(`${others.join(", ")} and ${kept} are ${others.length === 1 ? "two people" : "different people"} again.`);
  await after();
}

async function merges() {
  const made = (await call("/v1/merges")).merges.slice(0, MERGES);
  $("merges").hidden = !made.length;
  if (!made.length) return;
  const everyone = (await call("/v1/identities?limit=1000")).identities;
  $("merged").replaceChildren(...made.map(({ merge_id: id, kept, others, created_at: at }) => {
    const name = everyone.find((one) => one.id === kept)?.name ?? "someone else";
    const said = `${counted(others.length, "person", "people")} became ${name} on ${day(at)}`;
    return element("li", "", element("span", said), button("Undo", `Undo: ${said}`, () => unmerge(id, show)));
  }));
}

// after: what is to be shown again.
async function erase(person, after, why = "") {
  const question = `${why}Erase ${person.name}, with ${counted(person.faces, "face")}? There is no undo.`;
  await erasing(question, `/v1/identities/${person.id}`, `${person.name} is erased.`, after);
}

export async function eraseFace(id, { id: owner }, after) {
  const person = await call(`/v1/identities/${owner}`);
  if (person.faces === 1) return erase(person, after, `This is the only face of ${person.name}, who can only be erased as a whole. `);
  const question = `Erase this face of ${person.name}? ${counted(person.faces - 1, "other stays", "others stay")}. There is no undo.`;
  await erasing(question, `/v1/faces/${id}`, `This face of ${person.name} is erased.`, after);
}

async function erasing(question, path, said, after) {
  const act = async () => {
    const receipt = await call(path, { method: "DELETE" }).catch(async (error) => {
      if (error.status >= 500) await after(); // it may be erased although the search for traces failed
      throw error;
    });
    await after();
    return receipt;
  };
  const receipt = await ask(question, "Erase", { act });
  if (!receipt) return;
  const { searched, learned = [], backups = [] } = receipt;
  const proof = searched ? [`No trace is left in ${counted(searched.files, "file")} of this gallery.`] : [];
  if (learned.length) proof.push(`What was learned from it: ${learned.join("; ")}.`);
  if (backups.length) proof.push(`Still in ${backups.map((one) => `the backup of ${day(one.created_at)} (${one.id.slice(0, 8)})`).join(", ")}.`);
  say([said, ...proof].join(" "));
}

export function start() {
  $("search").addEventListener("input", guarded(() => list()));
  $("more").addEventListener("click", guarded(() => list(false)));
}
