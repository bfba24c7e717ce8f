// The people view: search, show faces, rename, merge and undo, erase.
import { ask, validName } from "./dialog.js";
import { $, baseName, button, element, formatDate, handler, plural, row, showStatus } from "./elements.js";
import { callApi, thumbnail } from "./http.js";

const PAGE_SIZE = 50;
const MAX_MERGES = 20; // shown, the newest
let next = null; // after which identity the next page begins
let latestRequest = 0;

export async function show() {
  await Promise.all([list(), showMerges()]);
}

async function list(isNew = true) {
  const request = ++latestRequest;
  const search = $("search").value.trim();
  const after = isNew ? "" : `&after=${encodeURIComponent(next)}`;
  const page = await callApi(`/v1/identities?search=${encodeURIComponent(search)}&limit=${PAGE_SIZE}${after}`);
  if (request !== latestRequest) return; // superseded by a later search
  if (isNew) $("list").replaceChildren();
  $("list").append(...page.identities.map(card));
  next = page.next;
  $("more").hidden = next === null;
  const none = search ? `No name contains "${search}".` : "No one is enrolled yet. Query a photo, then enrol its face.";
  $("count").textContent = page.total ? plural(page.total, "person", "people") : none;
}

function card(person) {
  const faces = Object.assign(element("ul"), { className: "faces" });
  const details = element("details", "", element("summary", plural(person.faces, "face")), faces);
  details.addEventListener("toggle", handler(async () => {
    if (!details.open || faces.children.length) return;
    const { enrolled } = await callApi(`/v1/identities/${person.id}`);
    faces.replaceChildren(...(await Promise.all(enrolled.map((face) => faceItem(person, face)))));
  }));
  const expiry = person.expires_at ? [Object.assign(element("p", `Will be erased on ${formatDate(person.expires_at)}`), { className: "soft" })] : [];
  return element("li", "", element("h2", person.name), ...expiry, details, row(
    button("Rename", `Rename ${person.name}`, () => rename(person)),
    button("Merge", `Merge ${person.name} into someone else`, () => mergeInto(person)),
    button("Erase", `Erase ${person.name}`, () => erase(person, show))));
}

async function faceItem(person, face) {
  const label = `Erase the face ${baseName(face.photo)} of ${person.name}`;
  const poor = face.faults.length ? [Object.assign(element("span", `Poor example: ${face.faults.join(", ")}`), { className: "warn" })] : [];
  return element("li", "", await thumbnail(face, `Enrolled face of ${person.name}`), ...poor,
    button("Erase this face", label, () => eraseFace(face.face_id, person, show)));
}

async function rename(person) {
  const act = async (name) => {
    if (name !== person.name) await callApi(`/v1/identities/${person.id}`, { method: "PATCH", body: { name: validName(name) } });
    return name;
  };
  const name = await ask(`New name for ${person.name}`, "Rename", { entry: person.name, act });
  if (!name || name === person.name) return;
  showStatus(`${person.name} renamed to ${name}.`);
  await show();
}

async function mergeInto(person) {
  const others = (await callApi("/v1/identities?limit=1000")).identities.filter((other) => other.id !== person.id);
  const act = async (name) => {
    if (!name) throw new Error("Enter the name to keep.");
    const matches = (await callApi(`/v1/identities?limit=1000&near=${encodeURIComponent(name)}`)).identities;
    const kept = matches.find((other) => other.name === name && other.id !== person.id);
    if (!kept) throw new Error(`No one else is named ${name}.`);
    await merge(kept, person, show);
    return kept;
  };
  const question = `Merge ${person.name} into which person? That person's name is kept.`;
  if (await ask(question, "Merge", { entry: "", names: others.map((other) => other.name), act })) await show();
}

// refresh: updates the view after the merge is undone.
export async function merge(kept, other, refresh) {
  const merged = await callApi(`/v1/identities/${kept.id}/merge`, { method: "POST", body: { others: [other.id] } });
  const undo = button("Undo", "Undo this merge", () => undoMerge(merged.merge_id, refresh));
  showStatus(`${other.name} merged into ${kept.name}, now with ${plural(merged.faces, "face")}.`, { buttons: [undo] });
}

async function undoMerge(id, refresh) {
  const { identities } = await callApi(`/v1/merges/${id}/undo`, { method: "POST" });
  const [kept, ...restored] = identities.map((identity) => identity.name);
  showStatus(`Merge undone: ${restored.join(", ")} and ${kept} are separate again.`);
  await refresh();
}

async function showMerges() {
  const { merges } = await callApi(`/v1/merges?limit=${MAX_MERGES}`);
  $("merges").hidden = !merges.length;
  $("merged").replaceChildren(...merges.map(({ merge_id: id, kept_name: name, others, created_at: time }) => {
    const text = `${plural(others.length, "person", "people")} merged into ${name ?? "someone else"} on ${formatDate(time)}`;
    return element("li", "", element("span", text), button("Undo", `Undo: ${text}`, () => undoMerge(id, show)));
  }));
}

async function erase(person, refresh, note = "") {
  const question = `${note}Erase ${person.name}, with ${plural(person.faces, "face")}? This cannot be undone.`;
  await confirmErasure(question, `/v1/identities/${person.id}`, `${person.name} erased.`, refresh);
}

export async function eraseFace(id, { id: owner }, refresh) {
  const person = await callApi(`/v1/identities/${owner}`);
  if (person.faces === 1) return erase(person, refresh, `This is the only face of ${person.name}. `);
  const remaining = plural(person.faces - 1, "other face remains", "other faces remain");
  const question = `Erase this face of ${person.name}? ${remaining}. This cannot be undone.`;
  await confirmErasure(question, `/v1/faces/${id}`, `Face of ${person.name} erased.`, refresh);
}

async function confirmErasure(question, path, message, refresh) {
  const act = async () => {
    const receipt = await callApi(path, { method: "DELETE" }).catch(async (error) => {
      if (error.status >= 500) await refresh(); // it may be erased although the search for traces failed
      throw error;
    });
    await refresh();
    return receipt;
  };
  const receipt = await ask(question, "Erase", { act });
  if (!receipt) return;
  const { searched, learned = [], backups = [] } = receipt;
  const parts = [message];
  if (searched) parts.push(`No trace found in ${plural(searched.files, "file")} of this gallery.`);
  if (learned.length) parts.push(`Learned from it: ${learned.join("; ")}.`);
  if (backups.length) parts.push(`Still in ${backups.map(({ id, created_at: time }) => `the backup of ${formatDate(time)} (${id.slice(0, 8)})`).join(", ")}.`);
  showStatus(parts.join(" "));
}

export function start() {
  $("search").addEventListener("input", handler(() => list()));
  $("more").addEventListener("click", handler(() => list(false)));
}
