(() => {
  "use strict";
  const read = (element) => JSON.parse(element.textContent);

  // The charts, one after the other, so that the page can be read and scrolled meanwhile.
  const draw = async () => {
    const options = {
      actions: false, ast: true, config: read(document.getElementById("chart-config")), defaultStyle: false,
      loader: { target: "_self" }, renderer: "svg", tooltip: { disableDefaultStyle: true },
    };
    for (const chart of document.querySelectorAll(".chart")) {
      await vegaEmbed(chart.querySelector("div"), read(chart.querySelector("script")), options);
      chart.style.minHeight = "";
      await new Promise((resolve) => setTimeout(resolve));
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

  // The table that a link to a trial leads into may be folded.
  const unfold = () => {
    const row = location.hash.startsWith("#trial-") && document.getElementById(location.hash.slice(1));
    if (!row) return;
    row.closest("details").open = true;
    row.scrollIntoView({ block: "center" });
  };
  addEventListener("hashchange", unfold);

  draw().then(unfold);
})();
