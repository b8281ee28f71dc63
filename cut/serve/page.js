"use strict";
const get = (id) => document.getElementById(id);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

get("theme").addEventListener("change", (event) => { document.documentElement.dataset.theme = event.target.value; });

// What the server says; its refusals are one line.
async function ask(address, options) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("no answer; is cut-serve still running?");
  }
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw new Error(said.error || `status ${answer.status}`);
  }
  return answer;
}
const askJson = async (address) => (await ask(address)).json();
const query = (values) => new URLSearchParams(values).toString();

function complain(error) {
  get("error").textContent = error ? error.message : "";
  get("error").hidden = !error;
}

// The chosen picture, from the field, a drop or the clipboard.
let picture = null;
let mostBytes = Infinity;
const isTooLarge = (file) => file && file.size > mostBytes;
function choose(file) {
  complain(isTooLarge(file) &&
    new Error(`${file.name}: ${(file.size / 1e6).toFixed(0)} MB; the server takes up to ${mostBytes / 1e6} MB`));
  picture = isTooLarge(file) ? null : file;
  const image = get("chosen");
  URL.revokeObjectURL(image.src);
  image.hidden = !picture;
  if (picture) image.src = URL.createObjectURL(picture);
}
get("chosen").addEventListener("error", (event) => { event.target.hidden = true; });  // a format that it cannot show
get("picture").addEventListener("change", (event) => choose(event.target.files[0] || null));
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => { event.preventDefault(); get("drop").classList.add("over"); });
}
for (const kind of ["dragleave", "drop"]) {
  document.addEventListener(kind, (event) => { event.preventDefault(); get("drop").classList.remove("over"); });
}
const take = (files) => { if (files.length && !get("drop").hidden) { get("picture").value = ""; choose(files[0]); } };
document.addEventListener("drop", (event) => take(event.dataTransfer.files));
document.addEventListener("paste", (event) => take(event.clipboardData.files));
get("guide").addEventListener("change", () => { get("no-guide").hidden = !get("guide").files.length; });
get("no-guide").addEventListener("click", () => { get("guide").value = ""; get("no-guide").hidden = true; });

// What the chosen models can be asked for.
const described = new Map();  // name -> promise of what the server says
const union = (models, key) => [...new Set(models.flatMap((model) => model[key]))];
function offer(name, values) {
  const select = get(name), before = select.value;
  select.replaceChildren(...values.map((value) => make("option", { value, textContent: value })));
  if (values.includes(before)) select.value = before;
}
const show = (name, isShown) => { document.querySelector(`[data-option=${name}]`).hidden = !isShown; };
function describe(name) {
  if (!described.has(name)) {
    described.set(name, askJson(`/model?${query({ name })}`));
    described.get(name).catch(() => described.delete(name));
  }
  return described.get(name);
}
// Shows them, and gives what is known of the models.
let lastShown = 0;
async function showOptions() {
  const models = [], own = ++lastShown;
  complain(null);
  get("status").textContent = "loading models";
  for (const box of all("#models input:checked")) {
    try {
      models.push(await describe(box.value));
    } catch (error) {
      box.checked = false;
      complain(error);
    }
  }
  if (own !== lastShown) return models;  // boxes have changed meanwhile, and the newer call knows them
  get("status").textContent = "";
  const directions = union(models, "directions"), sizes = union(models.filter((m) => m.trained_at_px), "trained_at_px");
  offer("direction", directions);
  offer("label", union(models, "labels"));
  get("drop").hidden = models.length > 0 && models.every((model) => model.takes === "nothing");
  show("direction", directions.length > 1);
  show("label", models.some((model) => model.labels.length));
  show("guide", models.some((model) => model.takes_guide));
  show("seed", models.some((model) => model.takes_seed));
  const most = Math.max(1, ...models.map((model) => model.most_passes));
  get("passes").max = most;
  get("passes").value ||= models.find((model) => model.most_passes > 1)?.num_passes ?? "";
  show("passes", most > 1);
  show("scale", sizes.length > 0);
  get("scale-text").textContent = `scale to ${sizes.join(" or ")} px first, as in training`;
  get("go").textContent = get("drop").hidden ? "Draw" : "Translate";
  return models;
}

// The line between before and after, at one place in all pictures.
let split = 50;
function moveSplit(value) {
  split = value;
  get("results").style.setProperty("--split", split + "%");
  for (const slider of all(".split")) {
    slider.value = split;
    slider.setAttribute("aria-valuetext", split + " % input");
  }
}

function fields(model, seed, ticket) {
  const form = new FormData();
  const isShown = (name) => !document.querySelector(`[data-option=${name}]`).hidden;
  form.append("model", model.name);
  form.append("ticket", ticket);
  form.append("seed", model.takes_seed ? seed : 0);
  if (model.takes === "picture") form.append("picture", picture);
  if (isShown("direction") && model.directions.includes(get("direction").value)) form.append("direction", get("direction").value);
  if (model.labels.length) form.append("label", get("label").value);
  if (model.takes_guide && get("guide").files.length) form.append("guide", get("guide").files[0]);
  if (model.most_passes > 1 && get("passes").value) form.append("num_passes", get("passes").value);
  if (model.trained_at_px && get("scale").checked) form.append("load_px", model.trained_at_px);
  return form;
}

// A place on the page for one translation, with its progress until it is there.
function addResult(model, seed) {
  const bar = make("progress", { ariaLabel: `progress of ${model.name}` });
  const box = make("figure", { className: "result" }, make("h3", { textContent: model.takes_seed ? `${model.name}, seed ${seed}` : model.name }), bar);
  get("results").append(box);
  return { box, bar };
}
function fill({ box, bar }, model, seed, blob, seconds) {
  const after = make("img", { alt: `translation by ${model.name}` });
  const compare = make("div", { className: "compare" }, after);
  const stem = model.takes === "picture" ? picture.name.replace(/\.[^.]*$/, "") : "drawn";
  const link = make("a", { download: `${stem}_${model.name.replace(/\W+/g, "_")}_${seed}.png`, textContent: "download PNG" });
  after.src = link.href = URL.createObjectURL(blob);
  const facts = make("small", {});
  after.addEventListener("load", () => {
    facts.textContent = `${after.naturalWidth} x ${after.naturalHeight} px, ${seconds.toFixed(1)} s`;
    box.classList.toggle("is-small", after.naturalWidth < 512);
    after.classList.toggle("small", after.naturalWidth < 100);
  });
  const sides = make("figcaption", { className: "sides" }, make("span", { textContent: "translation" }));
  if (model.takes === "picture") {
    const before = make("img", { alt: "input", className: "before" });
    const slider = make("input", { type: "range", className: "split", min: 0, max: 100, value: split, ariaLabel: `input to the left, translation to the right: ${model.name}` });
    const inputName = make("span", { textContent: "input" });
    slider.addEventListener("input", () => moveSplit(slider.value));
    before.addEventListener("error", () => {
      before.remove();
      slider.remove();
      inputName.textContent = "this browser cannot show the input";
    });
    before.src = URL.createObjectURL(picture);
    compare.append(before, slider);
    sides.prepend(inputName);
  }
  bar.replaceWith(compare);
  box.append(sides, make("p", { className: "below" }, facts, link));
  moveSplit(split);
}
async function watch(bar, ticket, isDone) {
  while (!isDone()) {
    await new Promise((done) => setTimeout(done, 300));
    const state = await askJson(`/progress?${query({ ticket })}`).catch(() => null);
    if (!state || isDone()) continue;
    if (state.tiles) {
      bar.max = state.tiles;
      bar.value = state.tiles_done;
      get("status").textContent = `tile ${state.tiles_done} of ${state.tiles}`;
    } else {
      get("status").textContent = state.state === "waiting" ? `waiting behind ${state.ahead}` : "translating";
    }
  }
}
async function translate(model, seed, signal) {
  const ticket = Math.random().toString(36).slice(2), place = addResult(model, seed), begin = performance.now();
  let isDone = false;
  watch(place.bar, ticket, () => isDone);
  try {
    const answer = await ask("/translate", { method: "POST", body: fields(model, seed, ticket), signal });
    fill(place, model, seed, await answer.blob(), (performance.now() - begin) / 1000);
  } catch (error) {
    place.box.remove();
    throw error.name === "AbortError" ? error : new Error(`${model.name}: ${error.message}`);
  } finally {
    isDone = true;
  }
}

let stopping = null;
get("stop").addEventListener("click", () => stopping?.abort());
get("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  get("go").disabled = true;
  const models = await showOptions();
  get("go").disabled = false;
  if (!get("error").hidden) return undefined;
  if (!models.length) return complain(new Error("choose a model"));
  if (!picture && models.some((model) => model.takes === "picture")) return complain(new Error("choose a picture first"));
  if (isTooLarge(get("guide").files[0])) return complain(new Error("the guide picture is too large"));
  for (const image of all("#results img")) URL.revokeObjectURL(image.src);
  get("results").replaceChildren();
  stopping = new AbortController();
  get("go").disabled = true;
  get("stop").hidden = false;
  const first = Math.max(0, Math.floor(Number(get("seed").value)) || 0);
  const count = Math.min(8, Math.max(1, Math.floor(Number(get("count").value)) || 1));
  try {
    for (const model of models) {
      for (let number = 0; number < (model.takes_seed ? count : 1); number++) {
        await translate(model, first + number, stopping.signal);
      }
    }
    get("status").textContent = "done";
  } catch (error) {
    get("status").textContent = error.name === "AbortError" ? "stopped" : "";
    if (error.name !== "AbortError") complain(error);
  } finally {
    get("go").disabled = false;
    get("stop").hidden = true;
  }
});

// A training, renewed while the page is looked at.
let shown = "";
async function renew() {
  if (document.hidden || get("training").hidden) return;
  const name = get("run").value, live = await askJson(`/live?${query({ name })}`).catch((error) => ({ error }));
  if (name !== get("run").value) return;
  get("report").href = `/report?${query({ name })}`;
  const text = live.error ? "" : live.html;
  if (live.error) get("live").replaceChildren(make("p", { className: "error", textContent: live.error.message }));
  else if (name + text !== shown) {
    const isOpen = get("live").querySelector("details")?.open;
    get("live").innerHTML = text;  // of our own templates, which escape all names
    for (const image of all("#live [data-step]")) image.src = `/sheet?${query({ name, step: image.dataset.step })}`;
    if (isOpen && get("live").querySelector("details")) get("live").querySelector("details").open = true;
  }
  shown = name + text;
}
get("run").addEventListener("change", renew);
document.addEventListener("visibilitychange", renew);

async function start() {
  const { models, most_bytes: most } = await askJson("/models");
  mostBytes = most;
  const usable = models.filter((model) => model.is_model), runs = models.filter((model) => model.is_run);
  usable.forEach((model, index) => get("models").append(make("label", {},
    make("input", { type: "checkbox", value: model.name, checked: index === 0 }), " " + model.name)));
  get("models").addEventListener("change", showOptions);
  get("form").hidden = !usable.length;
  if (!usable.length) get("status").textContent = "No run has saved weights yet; load this page again after the first checkpoint.";
  const newest = runs.find((run) => run.is_training) || runs[0];
  get("run").append(...runs.map((run) => make("option", { value: run.name, textContent: run.name, selected: run === newest })));
  get("training").hidden = get("to-training").hidden = !runs.length;
  await Promise.all([showOptions(), renew()]);
  setInterval(renew, 5000);
}
start().catch(complain);
