(() => {
  "use strict";
  const read = (element) => JSON.parse(element.textContent);

  // Lets the page be read and scrolled. A pending picture holds the load event back until the last chart is drawn:
  // what prints a page as soon as it is loaded prints the charts too.
  const breathe = () => new Promise((resolve) => {
    const picture = new Image();
    picture.onload = picture.onerror = resolve;
    picture.src = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=";
  });

  const draw = async () => {
    const options = {
      actions: false, ast: true, config: read(document.getElementById("chart-config")), defaultStyle: false,
      loader: { target: "_self" }, renderer: "svg", tooltip: { disableDefaultStyle: true },
    };
    for (const chart of document.querySelectorAll(".chart")) {
      await vegaEmbed(chart.querySelector("div"), read(chart.querySelector("script")), options);
      chart.style.minHeight = "";
      await breathe();
    }
    document.documentElement.dataset.charts = "drawn";
  };

  // A click on a column's name sorts the rows by it: numbers from the greatest, text from A; once more turns it round.
  const compare = (column) => {
    const text = new Intl.Collator(undefined, { numeric: true }).compare;
    const of = (row) => row.cells[column];
    return (one, other) => {
      const [a, b] = [of(one).dataset.value, of(other).dataset.value];
      if (a && b) return a - b;
      if (a || b) return a ? 1 : -1;
      return text(of(one).textContent, of(other).textContent);
    };
  };
  const sort = (heading) => {
    const isNumber = heading.classList.contains("number");
    const before = heading.getAttribute("aria-sort");
    const order = before ? (before === "ascending" ? "descending" : "ascending") : isNumber ? "descending" : "ascending";
    for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", order);
    const body = heading.closest("table").tBodies[0];
    const by = compare(heading.cellIndex);
    body.append(...[...body.rows].sort((a, b) => (order === "ascending" ? by(a, b) : by(b, a))));
  };
  for (const button of document.querySelectorAll("th button"))
    button.addEventListener("click", () => sort(button.parentElement));

  draw();
})();
