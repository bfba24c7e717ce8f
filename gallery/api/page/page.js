// The page: ask about a photo, enrol from it, keep people. It talks to /v1 of its own server alone.
const $ = (id) => document.getElementById(id);
const PAGE = 50;
let asked = null;
let listed = 0;

async function call(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. Is `gallery serve` still running?");
  }
  const body = await answer.json();
  if (!answer.ok && !body.enrolments) throw new Error(body.detail || answer.statusText);
  return body;
}

function say(text, bad = false) {
  $("state").textContent = text;
  $("state").classList.toggle("bad", bad);
}

function element(kind, text, ...inside) {
  const made = document.createElement(kind);
  if (text) made.textContent = text;
  made.append(...inside);
  return made;
}

function button(text, label, action, quiet = true) {
  const made = element("button", text);
  made.type = "button";
  made.setAttribute("aria-label", label);
  made.className = quiet ? "quiet" : "";
  made.addEventListener("click", () => action().catch((error) => say(error.message, true)));
  return made;
}

function percent(value) {
  return `${Math.min(99.9, 100 * value).toFixed(1)} %`;
}

function title(answer) {
  if (answer.outcome === "match") return `${answer.identity.name} (${percent(answer.probability)})`;
  if (answer.outcome === "unknown") return "No one we know";
  if (answer.outcome === "no_face") return "No face";
  if (answer.outcome === "ambiguous") {
    const names = answer.candidates.filter((c) => c.verdict === "same").map((c) => c.identity.name);
    return `${names.length} people match: ${names.join(", ")}`;
  }
  return answer.outcome.replaceAll("_", " ");
}

function dialog(question, yes, entry = null) {
  $("question").textContent = question;
  $("yes").textContent = yes;
  $("entry").hidden = entry === null;
  $("answer").required = entry !== null;
  $("answer").value = entry ?? "";
  $("dialog").returnValue = "no";
  $("dialog").showModal();
  return new Promise((resolve) => {
    $("dialog").addEventListener(
      "close",
      () => resolve($("dialog").returnValue === "yes" ? (entry === null ? true : $("answer").value) : null),
      { once: true },
    );
  });
}

async function ask(file) {
  if (!file) return;
  asked = file;
  $("shown").hidden = true;
  say("Looking ...");
  const form = new FormData();
  form.append("photo", file, file.name || "pasted");
  try {
    const { answers } = await call("/v1/query?all_faces=true", { method: "POST", body: form });
    if ($("photo").src) URL.revokeObjectURL($("photo").src);
    $("photo").src = URL.createObjectURL(file);
    await $("photo").decode().catch(() => {});
    show(answers);
  } catch (error) {
    say(error.message, true);
  }
}

function show(answers) {
  const faces = answers.filter((answer) => answer.face);
  say(faces.length === 1 ? "One face." : `${faces.length || "No"} faces.`);
  $("boxes").replaceChildren();
  $("answers").replaceChildren();
  const { naturalWidth: width, naturalHeight: height } = $("photo");
  for (const [place, answer] of answers.entries()) {
    const number = faces.length > 1 ? `${place + 1}. ` : "";
    const item = element("li", "", element("h2", number + title(answer)), element("p", answer.reason));
    if (answer.face && faces.length === 1) {
      item.append(button("Enrol this face", "Enrol the face of this photo", enrol, false));
    }
    $("answers").append(item);
    if (!answer.face || !width) continue;
    const [left, top, right, bottom] = answer.face.box;
    const box = element("div", "", element("b", number && answer.outcome !== "match" ? String(place + 1) : number + title(answer)));
    box.className = `box ${answer.outcome}`;
    box.style.left = `${(100 * left) / width}%`;
    box.style.top = `${(100 * top) / height}%`;
    box.style.width = `${(100 * (right - left)) / width}%`;
    box.style.height = `${(100 * (bottom - top)) / height}%`;
    $("boxes").append(box);
  }
  $("shown").hidden = false;
}

async function enrol() {
  const name = await dialog("Who is this? The face is kept as an encoding, the photo is not.", "Enrol", "");
  if (!name) return;
  const send = (force) => {
    const form = new FormData();
    form.append("name", name);
    form.append("photo", asked, asked.name || "pasted");
    return call(`/v1/identities${force ? "?force=true" : ""}`, { method: "POST", body: form });
  };
  let [result] = (await send(false)).enrolments;
  if (result.outcome === "refused" && (await dialog(`${result.reason}. Enrol all the same?`, "Enrol"))) {
    [result] = (await send(true)).enrolments;
  }
  say(result.reason, result.outcome === "refused" || result.outcome === "error");
}

async function list(fresh = true) {
  if (fresh) listed = 0;
  const search = encodeURIComponent($("search").value);
  const found = await call(`/v1/identities?search=${search}&limit=${PAGE}&offset=${listed}`);
  if (fresh) $("list").replaceChildren();
  for (const person of found.identities) $("list").append(row(person));
  listed += found.identities.length;
  $("more").hidden = listed >= found.total;
  const none = $("search").value ? "Nobody of that name." : "Nobody is enrolled yet: ask about a photo, then enrol its face.";
  $("count").textContent = found.total ? (found.total === 1 ? "1 person" : `${found.total} people`) : none;
}

function row(person) {
  const photos = person.faces === 1 ? "1 photo" : `${person.faces} photos`;
  const rename = async () => {
    const name = await dialog(`Another name for ${person.name}`, "Rename", person.name);
    if (!name || name === person.name) return;
    const body = JSON.stringify({ name });
    await call(`/v1/identities/${person.id}`, { method: "PATCH", body, headers: { "content-type": "application/json" } });
    await list();
  };
  const forget = async () => {
    if (!(await dialog(`Erase ${person.name} and ${photos}? There is no undo.`, "Erase"))) return;
    await call(`/v1/identities/${person.id}`, { method: "DELETE" });
    await list();
  };
  const tell = (action) => () => action().catch((error) => ($("count").textContent = error.message));
  return element("li", "", element("h2", person.name), element("p", photos),
    button("Rename", `Rename ${person.name}`, tell(rename)), " ", button("Erase", `Erase ${person.name}`, tell(forget)));
}

for (const tab of document.querySelectorAll("[data-view]")) {
  tab.addEventListener("click", () => {
    for (const other of document.querySelectorAll("[data-view]")) {
      other.setAttribute("aria-pressed", String(other === tab));
      $(other.dataset.view).hidden = other !== tab;
    }
    if (tab.dataset.view === "people") list().catch((error) => ($("count").textContent = error.message));
  });
}
for (const id of ["file", "camera"]) {
  $(id).addEventListener("change", () => ask($(id).files[0]));
}
$("search").addEventListener("input", () => list().catch((error) => ($("count").textContent = error.message)));
$("more").addEventListener("click", () => list(false));
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") ask(event.dataTransfer.files[0]);
  });
}
document.addEventListener("paste", (event) => ask(event.clipboardData.files[0]));
