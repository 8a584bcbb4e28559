"""The dashboard in a real browser: what is clicked works, offline, and nothing is said in the console."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from mer import dashboard, runs
from mer.selection import select
from mer.statistics import mcnemar
from tests.dashboard.make import CLASSES, encoded_set, experiments, run_of, score
from tests.run_folder import FOLDS
from tests.spotting_run import make_spotting_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Locator, Page

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("no chromium on this machine (apt-get install chromium)", allow_module_level=True)
ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
EVIL = "<img src=x onerror=alert(1)>"
RUN = "runs/laenet/base/megc2019_uvos/loso/seed-0.html"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A dashboard of two whole runs, a half one, a damaged one, one that spots, and a table."""
    tmp_path = tmp_path_factory.mktemp("dashboard")
    root = tmp_path / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MER_CACHE", str(tmp_path / "cache"))
        content = encoded_set(tmp_path / "cache")
        run_of(root, "laenet", content=content, epochs=3, subject=EVIL)
        run_of(root, "laenet", seed=1, content=content, subject=EVIL)
        run_of(root, "ststnet", data="other", content=content, folds=FOLDS[:2], synthetic=True)
        (run_of(root, "damaged") / "plan.yaml").write_text("[", encoding="utf-8")
        make_spotting_run(root, runs.RunKey("spot", "base", "videos", "loso", 0), shift=15)
        folder = experiments(tmp_path / "experiments")
        dashboard.main([str(root), "--experiments", str(folder), "--out", str(tmp_path / "out")])
        yield tmp_path / "out"


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: "Browser") -> Iterator["Page"]:
    """A page that fails the test when anything is said in the console or asked of a network."""
    said: list[str] = []
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    opened.on("pageerror", lambda error: said.append(f"error: {error}"))

    def dismiss(dialog: "Dialog") -> None:
        said.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    opened.on("dialog", dismiss)
    opened.on(
        "request",
        lambda request: (
            None if re.match("file:|data:", request.url) else said.append(f"request: {request.url}")
        ),
    )
    yield opened
    opened.close()
    assert not said


def visit(page: "Page", out: Path, address: str) -> None:
    page.goto(f"{out.as_uri()}/{address}")


def rows(page: "Page") -> list[str]:
    """The names of the runs that the overview shows."""
    shown: list[str] = page.eval_on_selector_all(
        "#runs tbody tr", "all => all.filter(row => !row.hidden).map(row => row.dataset.name)"
    )
    return shown


def test_sorting_and_its_address(page: "Page", out: Path) -> None:
    visit(page, out, "index.html")
    before = rows(page)
    head = page.locator("th[data-key=uf1]")
    assert head.get_attribute("aria-sort") == "none"
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    values = page.eval_on_selector_all("#runs tbody tr", "all => all.map(row => row.cells[6].dataset.value)")
    numbers = [float(value) for value in values if value]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == 4
    assert values[len(numbers) :] == [""]  # the damaged one stays last
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    ascending = rows(page)
    assert ascending != before
    page.reload()
    assert rows(page) == ascending
    page.go_back()
    page.go_back()
    assert head.get_attribute("aria-sort") == "none"
    assert rows(page) == before


def test_filters_and_the_back_button(page: "Page", out: Path) -> None:
    visit(page, out, "index.html")
    assert len(rows(page)) == 5
    page.get_by_label("Experiment").select_option("laenet")
    assert rows(page) == [f"laenet/base/megc2019_uvos/loso/seed-{seed}" for seed in (0, 1)]
    assert page.locator("#count").inner_text() == "2 of 5 runs"
    page.locator("input[type=search]").fill("SEED-1")
    assert rows(page) == ["laenet/base/megc2019_uvos/loso/seed-1"]
    address = page.url
    page.go_back()
    assert len(rows(page)) == 5
    page.goto("about:blank")
    page.goto(address)  # as somebody else who was given it
    assert rows(page) == ["laenet/base/megc2019_uvos/loso/seed-1"]
    assert page.locator("input[type=search]").input_value() == "SEED-1"
    page.locator("input[type=search]").fill("nothing like that")
    assert page.locator("#none").is_visible()
    page.get_by_role("button", name="Clear").click()
    assert len(rows(page)) == 5
    page.get_by_label("State").select_option("damaged")
    assert rows(page) == ["damaged/base/megc2019_uvos/loso/seed-0"]
    assert "plan.yaml: damaged" in page.locator("#runs").inner_text()


def test_comparing_two_runs(page: "Page", out: Path) -> None:
    visit(page, out, "index.html")
    assert page.locator("#compare").is_hidden()
    for seed in (0, 1):
        page.get_by_label(f"compare laenet/base/megc2019_uvos/loso/seed-{seed}").check()
    page.locator("#compare").click()
    page.wait_for_selector("#bars .barlayer .point")
    assert page.locator("#bars .barlayer .point").count() == 6
    assert page.locator("#bars .errorbar").count() == 6
    root = out.parent / "runs"
    both = [
        select(runs.read_predictions(root / f"laenet/base/megc2019_uvos/loso/seed-{seed}"), "last")
        for seed in (0, 1)
    ]
    b, c, p = mcnemar(*both)
    cells = page.locator("#tests tbody tr").locator("td").all_inner_texts()
    assert cells[1:3] == [str(b), str(c)]
    assert float(cells[3]) == pytest.approx(p, rel=5e-3)
    text = page.locator("#scores").inner_text()
    for table in both:
        assert f"{score(table, 'all', 'uar'):.4f}" in text
    page.get_by_label("Clips of").select_option("smic")
    assert f"{score(both[0], 'smic', 'accuracy'):.4f}" in page.locator("#scores").inner_text()
    page.locator("#add").fill("ststnet/base/other/loso/seed-0")
    page.locator("#add").press("Tab")
    assert "not comparable" in page.locator("#tests").inner_text()
    page.go_back()
    assert "not comparable" not in page.locator("#tests").inner_text()
    page.get_by_label(re.compile("Leave out .* seed 1")).click()
    assert page.locator("#result").is_hidden()


def test_the_p_value_is_that_of_the_tables(page: "Page", out: Path) -> None:
    visit(page, out, "compare.html")
    for b, c in [(0, 0), (5, 0), (3, 9), (40, 41), (700, 900), (2, 3000)]:
        names = [("s", f"clip{k}") for k in range(b + c)]
        table = pd.DataFrame(names, columns=["subject", "clip"]).assign(database="d", label="x")
        first = np.arange(b + c) < b
        one, other = (table.assign(p_x=right * 1.0, p_y=1.0 - right) for right in (first, ~first))
        expected = mcnemar(one, other) if b + c else (0, 0, 1.0)
        assert expected[:2] == (b, c)
        assert page.evaluate(f"twoSided({b}, {c})") == pytest.approx(expected[2], rel=1e-9, abs=1e-300)


def test_a_cell_of_the_confusion_matrix_filters_the_clips(page: "Page", out: Path) -> None:
    visit(page, out, RUN)
    page.wait_for_selector("#confusion-chart .heatmaplayer image")
    matrix = page.evaluate("pageData().subsets[0].matrix")
    wrong = [(k, to) for k in range(3) for to in range(3) if k != to and matrix[k][to]]
    true, predicted = wrong[0]
    figures = page.locator("#clip-grid figure:visible")
    all_of_them = figures.count()
    assert all_of_them == sum(matrix[k][to] for k, to in wrong)
    click_cell(page, true, predicted)
    assert figures.count() == matrix[true][predicted] < all_of_them
    assert set(figures.evaluate_all("all => all.map(f => f.dataset.true + f.dataset.predicted)")) == {
        CLASSES[true] + CLASSES[predicted]
    }
    assert page.locator("#confusion-chart .shapelayer path").count() == 1
    page.reload()
    assert figures.count() == matrix[true][predicted]
    click_cell(page, true, predicted)
    assert figures.count() == all_of_them
    page.go_back()
    assert figures.count() == matrix[true][predicted]


def click_cell(page: "Page", true: int, predicted: int) -> None:
    page.wait_for_selector("#confusion-chart .heatmaplayer image")
    box = page.locator("#confusion-chart .heatmaplayer image").bounding_box()
    assert box
    x = box["x"] + box["width"] * (predicted + 0.5) / 3
    y = box["y"] + box["height"] * (true + 0.5) / 3
    page.mouse.move(x, y)
    page.wait_for_timeout(200)  # Plotly looks for the cell under the mouse
    page.mouse.click(x, y)
    page.wait_for_timeout(400)  # it waits for a second click


def test_a_run_with_its_images_subsets_and_subjects(page: "Page", out: Path) -> None:
    visit(page, out, RUN)
    for chart in ("confusion", "subjects", "curves", "epochs"):
        assert page.locator(f"#{chart}-chart svg.main-svg").count()
    page.locator("#clips").scroll_into_view_if_needed()
    image = page.locator("#clip-grid img").first
    assert image.evaluate("async image => { await image.decode(); return image.naturalWidth; }") == 8
    page.get_by_role("group", name="Clips of").get_by_role("button", name="smic").click()
    assert page.evaluate("subsetOf(readState()).name") == "smic"
    shown = page.locator("#clip-grid figure:visible")
    assert set(shown.evaluate_all("all => all.map(figure => figure.dataset.subset)")) == {"smic"}
    page.get_by_role("button", name="Clear").click()
    # A subject whose name is HTML is text, everywhere.
    page.locator("#clip-filters [data-filter=subject]").select_option(f"casme2/{EVIL}")
    assert set(shown.evaluate_all("all => all.map(figure => figure.dataset.subject)")) == {f"casme2/{EVIL}"}
    assert page.locator("img[onerror], img[src=x]").count() == 0
    page.get_by_label("Order").select_option("least")
    values = [float(v) for v in shown.evaluate_all("all => all.map(figure => figure.dataset.probability)")]
    assert values == sorted(values)


def test_links_inside_a_page_keep_what_is_chosen(page: "Page", out: Path) -> None:
    visit(page, out, f"{RUN}#subset=smic")
    page.get_by_role("navigation", name="On this page").get_by_role("link", name="Record").click()
    assert page.evaluate("subsetOf(readState()).name") == "smic"
    assert page.locator("#record").evaluate("each => each.getBoundingClientRect().top < innerHeight")


def test_spotting(page: "Page", out: Path) -> None:
    visit(page, out, "runs/spot/base/videos/loso/seed-0.html")
    page.wait_for_selector("#roc-chart .scatterlayer .trace")
    first = page.evaluate("videoName(pageData().spotting.videos[0])")
    choice = page.locator("#video")
    assert choice.input_value() == first
    other = str(choice.locator("option").last.get_attribute("value"))
    choice.select_option(other)
    page.reload()
    assert choice.input_value() == other


def test_papers_and_complexity(page: "Page", out: Path) -> None:
    visit(page, out, "papers.html")
    page.get_by_role("link", name="Ours beside").click()
    assert page.url.endswith("papers/laenet.html#table4")
    text = page.locator("#table4").inner_text()
    assert "Ours beside <b>printed</b>" in text
    assert "▲" in text or "▼" in text
    visit(page, out, "complexity.html")
    page.wait_for_selector("#scatter .scatterlayer .point")
    page.get_by_label("Data").select_option("other")
    assert page.locator("#ours tbody tr:visible").count() == 1
    assert "SYNTHETIC" in page.locator("#ours tbody tr:visible").inner_text()


def test_two_papers_compared(page: "Page", out: Path) -> None:
    def choice(key: str) -> "Locator":
        return page.locator(f"#filters [data-filter={key}]")

    visit(page, out, "papers.html")
    page.wait_for_selector("#scores-chart .scatterlayer .point")
    assert page.locator("#count").inner_text() == "5 scores"
    choice("paper").select_option("laenet")
    assert page.locator("#count").inner_text() == "2 of 5 scores"
    choice("and").select_option("learnet")
    choice("metric").select_option("UF1")
    assert page.locator("#count").inner_text() == "3 of 5 scores"
    assert page.locator("#scores-chart .scatterlayer .point").count() == 4  # three printed, one of ours
    page.locator("#scores-details summary").click()
    page.locator("#scores th[data-key=printed]").get_by_role("button").click()
    shown = page.locator("#scores tbody tr:visible")
    assert [text.split()[0] for text in shown.all_inner_texts()] == ["Another", "LEARNet", "LAENet"]
    uf1 = score(select(runs.read_predictions(out.parent / "runs" / RUN[5:-5]), "last"), "all", "uf1")
    assert f"{uf1 - 0.5:+.4f}" in shown.last.inner_text()
    page.reload()  # as somebody who was given the address
    assert page.locator("#count").inner_text() == "3 of 5 scores"
    choice("of").select_option("own")
    choice("metric").select_option("accuracy")
    assert page.locator("#count").inner_text() == "1 of 5 scores"
    assert page.locator("#scores tbody tr:not([hidden]) td[data-value='0.8125']").count() == 1
    choice("of").select_option("ours")
    assert page.locator("#none").is_visible()
    page.get_by_role("button", name="Clear").click()
    assert page.locator("#count").inner_text() == "5 scores"


@pytest.mark.parametrize(
    "address", ["index.html", RUN, "papers.html", "papers/laenet.html", "complexity.html"]
)
def test_pages_fit_a_phone_and_can_be_read(page: "Page", out: Path, address: str) -> None:
    page.set_viewport_size({"width": 400, "height": 800})
    visit(page, out, address)
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(CONTRAST) == []


# Texts whose contrast with what is behind them is under 4.5 (WCAG AA), by colours as computed.
CONTRAST = """
() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = (rgb) => {
    const [r, g, b] = rgb.slice(0, 3).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = parse(getComputedStyle(each).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const unseen = "svg, script, [hidden], .hidden, .skip, option";
  const bad = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || element.closest(unseen) || !element.checkVisibility()) continue;
    const both = [light(parse(getComputedStyle(element).color)), light(behind(element))];
    const contrast = (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
    if (contrast < 4.5) bad.push([contrast, element.tagName, element.className, element.textContent]);
  }
  return bad;
}
"""
