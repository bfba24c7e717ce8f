// The promise about strangers, in words and as a curve.
import { $, counted, element, percent } from "./parts.js";
import { call } from "./talk.js";

const [LEFT, TOP, RIGHT, BOTTOM] = [84, 16, 624, 264];
const FEW = 30; // people; fewer say little

function drawn(kind, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

function draw({ expected, identities }) {
  const most = Math.log10(expected.at(-1).identities);
  const x = (count) => LEFT + (Math.log10(Math.max(1, count)) / most) * (RIGHT - LEFT);
  const y = (share) => BOTTOM - share * (BOTTOM - TOP);
  const parts = [];
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    parts.push(drawn("line", { x1: LEFT, x2: RIGHT, y1: y(share), y2: y(share), class: "grid" }));
    parts.push(drawn("text", { x: LEFT - 8, y: y(share) + 5, class: "end" }, `${100 * share} %`));
  }
  for (const count of [1, 10, 100, 1000]) {
    if (count <= expected.at(-1).identities) parts.push(drawn("text", { x: x(count), y: BOTTOM + 26, class: "middle" }, String(count)));
  }
  parts.push(drawn("text", { x: (LEFT + RIGHT) / 2, y: BOTTOM + 54, class: "middle" }, "people enrolled"));
  const points = expected.map((one) => `${x(one.identities)},${y(one.known_found)}`).join(" ");
  parts.push(drawn("polyline", { points, class: "line" }));
  $("curve").replaceChildren(...parts);
  if (!identities) return;
  const here = expected.find((one) => one.identities === identities);
  $("curve").append(drawn("circle", { cx: x(here.identities), cy: y(here.known_found), r: 6, class: "here" }));
  const end = x(here.identities) > RIGHT - 120 ? "end" : "";
  $("curve").append(drawn("text", { x: x(here.identities) + (end ? -10 : 10), y: y(here.known_found) + 40, class: end }, `yours: ${percent(here.known_found)}`));
}

function calibrated(calibration) {
  if (!calibration) {
    return [element("p", "No calibration on your own strangers is in use. This makes one: ", element("code", "gallery calibrate --strangers FOLDER"))];
  }
  const { before, after, strangers } = calibration.report;
  const table = element("table", "", element("caption", `Calibration ${calibration.version} of ${calibration.created_at.slice(0, 10)}, with ${counted(strangers.photos, "photo")} of strangers`));
  const row = (kind, cells) => element("tr", "", ...cells.map((cell) => element(kind, cell)));
  table.append(row("th", ["", "strangers named", "known found"]));
  const share = (value) => (value === undefined ? "\u2013" : percent(value));
  for (const [when, told] of [["before", before], ["after", after]]) {
    if (told) table.append(row("td", [when, share(told.strangers_named), share(told.known_found)]));
  }
  return [table];
}

export async function show() {
  const told = await call("/v1/calibration");
  const rate = percent(told.false_positive_identification_rate);
  const found = percent(told.known_found);
  const few = "That was measured on other people's photos; with so few people it says little about yours yet.";
  const more = "The more people are enrolled, the more careful each answer has to be.";
  const promise = `With ${counted(told.identities, "person", "people")} enrolled, at most ${rate} of strangers are given a name. ` +
    `At that, ${found} of the people you know are expected to be found. `;
  if (!told.identities) $("words").textContent = `Nobody is enrolled yet, so nobody can be named. From the first person on at most ${rate} of strangers are given a name. ${more}`;
  else $("words").textContent = promise + (told.identities < FEW ? few : more);
  draw(told);
  $("calibrated").replaceChildren(...calibrated(told.calibration));
}
