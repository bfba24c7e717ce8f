// Who is enrolled twice: a job on the server, then pairs side by side, and a decision for each.
import { $, button, counted, element, fileOf, guarded, percent, say } from "./parts.js";
import { merge } from "./people.js";
import { call, picture } from "./talk.js";

const POLL = 400; // milliseconds
let job = null;

async function look() {
  $("pairs").replaceChildren();
  $("twice").replaceChildren();
  $("compared").hidden = $("stop").hidden = false;
  say("Comparing everyone with everyone ...");
  try {
    job = await call("/v1/dedupe", { method: "POST" });
    while (job.state === "queued" || job.state === "running") {
      $("compared").value = job.total ? job.done / job.total : 0;
      await new Promise((resolve) => setTimeout(resolve, POLL));
      job = await call(`/v1/jobs/${job.id}`);
    }
  } finally {
    $("compared").hidden = $("stop").hidden = true;
  }
  if (job.state === "failed") throw new Error(job.error);
  if (job.state === "cancelled") return say("Stopped.");
  await show();
  const { same_people: pairs, identities } = job.result;
  const people = `${counted(identities, "person was", "people were")} compared`;
  say(pairs.length ? `${people}: ${counted(pairs.length, "pair seems", "pairs seem")} to be one person.` : `${people}; nobody seems to be enrolled twice.`);
}

async function again() {
  if (!job) return;
  job = await call(`/v1/jobs/${job.id}`);
  await show();
}

async function show() {
  const pairs = await Promise.all(job.result.same_people.map(pair));
  const named = new Set(job.result.same_people.map(({ identities }) => key(identities)));
  const others = job.result.same_faces.filter(({ faces }) => !named.has(key(faces.map((face) => face.identity))));
  const twice = await Promise.all(others.map(sameFace));
  $("pairs").replaceChildren(...pairs);
  $("twice").replaceChildren(...twice);
}

function key(identities) {
  return identities.map((one) => one.id).sort().join();
}

async function side(person, face) {
  const shown = await picture(face.face_id, `Enrolled face of ${person.name}`);
  const faces = person.faces ? `${counted(person.faces, "face")}; this one: ` : "";
  return element("div", "", shown, element("h2", person.name), element("p", faces + fileOf(face.photo)));
}

async function pair({ identities: [one, two], probability, deciding: [first, second] }) {
  const beside = element("div", "", await side(one, first), await side(two, second));
  beside.className = "beside";
  const decided = (kept, other) => async () => {
    await merge(kept, other, again);
    await again();
  };
  const apart = async () => {
    await call(`/v1/identities/${one.id}/distinct/${two.id}`, { method: "PUT" });
    await again();
    const undo = async () => {
      await call(`/v1/identities/${one.id}/distinct/${two.id}`, { method: "DELETE" });
      say("They are compared again.");
      await again();
    };
    say(`${one.name} and ${two.name} are two people, and are not named again.`, { undo });
  };
  return element("li", "", element("p", `One person? ${percent(probability)}`), beside, element("p", "",
    button(`Same: keep ${one.name}`, `${one.name} and ${two.name} are one person, called ${one.name}`, decided(one, two), false), " ",
    button(`Same: keep ${two.name}`, `${one.name} and ${two.name} are one person, called ${two.name}`, decided(two, one), false), " ",
    button("Two people", `${one.name} and ${two.name} are two people`, apart)));
}

async function sameFace({ faces: [one, two], similarity }) {
  const beside = element("div", "", await side(one.identity, one), await side(two.identity, two));
  beside.className = "beside";
  return element("li", "", element("p", `One picture of a face, enrolled twice (cosine ${similarity.toFixed(3)})`), beside);
}

export function start() {
  $("look").addEventListener("click", guarded(look));
  $("stop").addEventListener("click", guarded(async () => {
    if (job) await call(`/v1/jobs/${job.id}/cancel`, { method: "POST" });
  }));
}
