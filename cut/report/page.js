"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

document.getElementById("theme").addEventListener("change", (event) => {
  document.documentElement.dataset.theme = event.target.value;
});

// A slider over sheets or pictures: shows the frames that belong to its position.
for (const viewer of all(".viewer")) {
  const slider = viewer.querySelector(".chooser input");
  const labels = JSON.parse(slider.dataset.labels);
  slider.addEventListener("input", () => {
    const position = Number(slider.value);
    viewer.querySelector("output").value = labels[position];
    slider.setAttribute("aria-valuetext", labels[position]);
    for (const frame of all(".frame", viewer)) {
      frame.hidden = position < Number(frame.dataset.first) || position > Number(frame.dataset.last);
    }
  });
}

// The line between before and after, at one place in all pictures.
const splits = all(".split");
for (const split of splits) {
  split.addEventListener("input", () => {
    document.getElementById("comparison").style.setProperty("--split", split.value + "%");
    for (const other of splits) {
      other.value = split.value;
      other.setAttribute("aria-valuetext", split.value + " % input");
    }
  });
}

// The values of all curves at one step, chosen by the slider or by pointing into any chart.
const lines = all(".chart").flatMap((chart) => {
  const dots = all(".cursor", chart), texts = all(".legend b", chart);
  return all(".smooth", chart).map((line, index) => ({
    steps: JSON.parse(line.dataset.steps), values: JSON.parse(line.dataset.values),
    points: [...line.points], dot: dots[index], text: texts[index],
  }));
});
const nearest = (steps, step) => {
  let low = 0, high = steps.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (steps[middle] <= step) low = middle; else high = middle;
  }
  return step - steps[low] <= steps[high] - step ? low : high;
};
const step = document.getElementById("step");
const showValues = () => {
  step.parentElement.querySelector("output").value = step.value;
  for (const line of lines) {
    const index = nearest(line.steps, Number(step.value));
    line.text.textContent = line.values[index];
    line.dot.setAttribute("cx", line.points[index].x);
    line.dot.setAttribute("cy", line.points[index].y);
    line.dot.removeAttribute("hidden");
  }
};
step?.addEventListener("input", showValues);
for (const chart of all(".chart")) {
  chart.addEventListener("pointermove", (event) => {
    const plot = chart.querySelector(".plot").getBoundingClientRect();
    step.value = Math.round((event.clientX - plot.left) / plot.width * Number(step.max));
    showValues();
  });
}
