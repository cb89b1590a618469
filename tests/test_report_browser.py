"""Pages in a real browser: Debian's Chromium, without a display and without a network."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lungmask_jax import report
from lungmask_jax.evaluation import SHOWN, Picture, Report
from lungmask_jax.inference import Segmentation
from lungmask_jax.phantoms import phantom
from lungmask_jax.quantify import Signs, in_percent
from lungmask_jax.report import Entry, Visit

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
NAME = "</script><b>\"one' & مريض"
NOTES = ("look <i>here</i>", "very_long_" * 100)
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--window-size=1280,1600",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver")
    if not (CHROMIUM and DRIVER):
        pytest.skip("no chromium and chromedriver to open pages with")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (*ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('user')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def chest():
    return phantom((16, 48, 64), disease=0.2, seed=1)


@pytest.fixture(scope="module")
def scan_file(chest, tmp_path_factory):
    masks = {"lungs": chest.lungs, "infection": chest.infection}
    doubt = chest.infection.with_array(chest.infection.array * np.uint8(70))
    signs = Signs(0.5, np.linspace(0, 1, 16))
    result = Segmentation(chest.ct, masks, {}, doubt, notes=NOTES, signs=signs)
    path = tmp_path_factory.mktemp("pages") / "scan.html"
    path.write_text(result.page(name=NAME), "utf-8")
    return path


@pytest.fixture(scope="module")
def folder_file(chest, tmp_path_factory):
    picture = report.thumbnail({"lungs": chest.lungs})
    rows = (
        {"scan": f"scan {n}", "lungs_ml": float(n % 977), "severity": f"CT-{n % 5}"}
        for n in range(10_000)
    )
    entries = [Entry(row, "a.html", picture) for row in rows]
    entries[7] = Entry({"scan": NAME}, problem="<img src=x onerror=alert(1)>")
    path = tmp_path_factory.mktemp("pages") / "index.html"
    path.write_text(report.folder_page(entries), "utf-8")
    return path


@pytest.fixture(scope="module")
def evaluation_file(tmp_path_factory):
    rows = [
        {"case": name, "label": "infection", **dict.fromkeys(SHOWN, 0.9 - 0.2 * number)}
        for number, name in enumerate(["one", "two", NAME])
    ]
    before = [{**row, "dice": 0.4} for row in rows]
    pictures = [Picture(0.5, NAME, np.zeros((8, 8, 3), np.uint8))]
    judged = Report(rows, Path("former", "cases.csv"), before, pictures)
    path = tmp_path_factory.mktemp("pages") / "report.html"
    path.write_text(judged.page(name=NAME), "utf-8")
    return path


@pytest.fixture(scope="module")
def follow_up_file(chest, tmp_path_factory):
    pictures = report.level_pictures(chest.ct, {"lungs": chest.lungs})
    visits = [
        Visit({"scan": NAME, "study_date": day, "infection_percent": share}, "a.html", pictures)
        for day, share in (("20200101", 4.0), ("20200110", 9.0), ("", 7.0))
    ]
    path = tmp_path_factory.mktemp("pages") / "patient.html"
    path.write_text(report.follow_up_page(visits, patient=NAME), "utf-8")
    return path


@pytest.fixture
def scan(browser, scan_file):
    return opened(browser, scan_file)


@pytest.fixture
def folder(browser, folder_file):
    return opened(browser, folder_file)


def opened(browser, path):
    from selenium.webdriver.support.wait import WebDriverWait

    browser.get_log("performance")
    browser.get(path.as_uri())
    ready = "return document.documentElement.dataset.loaded || !document.scripts.length"
    WebDriverWait(browser, 60, 0.05).until(lambda driver: driver.execute_script(ready))
    return browser


def settled(browser, script):
    """What a script returns after the next picture of the screen."""
    return browser.execute_async_script(
        "const done = arguments[0];"
        f"requestAnimationFrame(() => requestAnimationFrame(() => done({script})));"
    )


def view(browser, plane):
    return browser.find_element("css selector", f"canvas[data-plane={plane}]")


def now(browser, plane):
    settled(browser, "1")
    return int(view(browser, plane).get_attribute("aria-valuenow"))


def drawn(browser, plane):
    return settled(browser, f"document.querySelector('[data-plane={plane}]').toDataURL()")


def test_a_page_opens_without_error_and_without_request(scan):
    assert [line for line in scan.get_log("browser") if line["level"] == "SEVERE"] == []
    sent = [json.loads(line["message"])["message"] for line in scan.get_log("performance")]
    asked = [
        one["params"]["request"]["url"]
        for one in sent
        if one["method"] == "Network.requestWillBeSent"
        and not one["params"]["documentURL"].startswith("chrome:")  # the browser's own first tab
    ]
    assert {url.split(":")[0] for url in asked} <= {"file", "data"}
    assert sum(url.startswith("file") for url in asked) == 1


def test_names_and_notes_are_text(scan):
    assert scan.find_element("css selector", "h1").text == NAME
    assert scan.title.startswith(NAME)
    assert scan.find_element("css selector", ".doubt li").text == "look <i>here</i>"


def test_planes_are_those_of_the_scan(scan, chest):
    script = "return Array.from(valuesOf(cutOf(data, '%s', %d), layers[0].values))"
    lungs = chest.lungs.array
    for plane, index, values in (
        ("axial", 5, lungs[5]),
        ("coronal", 20, lungs[::-1, 20]),
        ("sagittal", 20, lungs[::-1, :, 20]),
    ):
        assert scan.execute_script(script % (plane, index)) == values.ravel().tolist()


def test_voxels_have_their_hu_within_what_a_picture_can_hold(scan, chest):
    hu = np.array(scan.execute_script("return Array.from(codes, (code) => data.hu[code])"))
    lung = chest.lungs.array.ravel() > 0
    assert np.abs(hu - chest.ct.array.ravel())[lung].mean() < 15


def test_keys_move_through_slices(scan):
    from selenium.webdriver.common.keys import Keys

    axial = view(scan, "axial")
    axial.send_keys(Keys.END)
    assert now(scan, "axial") == 16
    before = drawn(scan, "axial")
    axial.send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    assert now(scan, "axial") == 14
    assert drawn(scan, "axial") != before
    axial.send_keys(Keys.PAGE_DOWN)
    assert now(scan, "axial") == 4
    assert axial.get_attribute("aria-valuetext") == "slice 4 of 16 (index 3)"


def test_slices_that_are_not_decoded_yet_do_not_look_like_air(scan):
    place = scan.execute_script("return state.at[0]")
    assert scan.execute_script("return ready.includes(0)") is False
    before = {plane: drawn(scan, plane) for plane in ("axial", "coronal")}
    scan.execute_script(f"ready[{place}] = 0; redraw()")
    assert all(drawn(scan, plane) != picture for plane, picture in before.items())
    missing = scan.execute_script("return views.map((view) => view.missing)")
    assert missing == [[[0, 48]], [], [[15 - place, 16 - place]], [[15 - place, 16 - place]]]
    assert scan.find_element("id", "status").text.endswith(
        "loading, right lung, infection, uncertainty 70 %"
    )


def test_the_wheel_and_the_pointer_move_through_slices(scan):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    axial = view(scan, "axial")
    before = now(scan, "axial")
    ActionChains(scan).scroll_from_origin(ScrollOrigin.from_element(axial), 0, 120).perform()
    assert now(scan, "axial") == before - 3
    ActionChains(scan).move_to_element_with_offset(axial, 4, 4).click().perform()
    assert (now(scan, "coronal"), now(scan, "sagittal")) == (25, 33)


def test_masks_and_windows_change_the_picture(scan):
    axial = view(scan, "axial")
    seen = [drawn(scan, "axial")]
    for keys in ("m", "m", "f", "2", "c"):
        axial.send_keys(keys)
        seen.append(drawn(scan, "axial"))
    assert seen[2] == seen[0]
    assert len(set(seen)) == len(seen) - 1
    for tick in scan.find_elements("css selector", "#layers input"):
        before = drawn(scan, "axial")
        tick.click()
        assert drawn(scan, "axial") != before


def test_the_scale_of_uncertainty_is_there_while_it_is_shown(scan):
    scale = scan.find_element("css selector", ".heat")
    tick = scan.find_elements("css selector", "#layers input")[-1]
    if tick.is_selected():
        tick.click()
    settled(scan, "1")
    assert not scale.is_displayed()
    tick.click()
    settled(scan, "1")
    assert scale.is_displayed()


def test_the_plain_scan_stands_beside_the_marked_one(scan):
    axial, plain = view(scan, "axial"), view(scan, "plain")
    assert not plain.is_displayed()
    axial.send_keys("p")
    assert plain.is_displayed()
    marked, unmarked = drawn(scan, "axial"), drawn(scan, "plain")
    axial.send_keys("m")
    assert drawn(scan, "plain") == unmarked
    assert drawn(scan, "axial") != marked


def test_an_own_window_is_typed(scan):
    from selenium.webdriver.common.keys import Keys

    low = scan.find_element("id", "low")
    low.send_keys(Keys.CONTROL, "a", Keys.NULL, "-500", Keys.TAB)
    assert settled(scan, "state.window") == {"name": "own", "low": -500, "high": 150}


def test_the_profile_leads_to_a_slice(scan):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    chart = scan.find_element("id", "profile")
    ActionChains(scan).move_to_element_with_offset(
        chart, 2 - chart.size["width"] // 2, 0
    ).click().perform()
    assert now(scan, "axial") == 16
    scan.find_element("id", "along").send_keys(Keys.ARROW_RIGHT)
    assert now(scan, "axial") == 15


def test_every_control_is_reached_by_keyboard(scan):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    scan.execute_script(
        "globalThis.reached = []; document.addEventListener('focusin', ({target}) =>"
        " reached.push(target.id || target.name || target.dataset.plane || target.tagName))"
    )
    ActionChains(scan).send_keys(Keys.TAB * 24).perform()
    controls = {"window", "low", "high", "style", "opacity", "compare", "cross", "SUMMARY", "along"}
    assert set(settled(scan, "reached")) >= controls | {"axial", "coronal", "sagittal"}


def test_the_tools_are_one_line_of_1280_pixels_with_a_scrollbar(scan):
    places = "Array.from(document.getElementById('controls').children, (one) => one.offsetTop)"
    scan.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**PHONE, "width": 1262})
    try:
        middle = settled(scan, places)
        assert max(middle) - min(middle) < 12
    finally:
        scan.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_small_view_has_a_short_title(scan):
    written = (
        "(() => { const texts = [], view = views.find((one) => one.plane === 'sagittal');"
        "view.canvas.width = %d; const context = view.canvas.getContext('2d');"
        "context.fillText = (text) => texts.push(text); drawNow(); return texts[0] })()"
    )
    full = settled(scan, written % 600)
    assert full.startswith("sagittal, column ")
    assert full.endswith(")")
    assert "index" not in settled(scan, written % 180)
    assert settled(scan, written % 130).endswith("/64")


def test_pages_print(scan):
    assert scan.print_page().startswith("JVBERi0")  # %PDF-


def test_of_ten_thousand_rows_only_those_in_sight_are_made(folder):
    assert len(folder.find_elements("css selector", "#body tr")) < 60
    assert folder.find_element("id", "count").text == "10000 scans"
    folder.execute_script("document.getElementById('window').scrollTop = 44 * 5000")
    settled(folder, "1")
    assert "scan 5003" in folder.find_element("id", "body").text
    assert [line for line in folder.get_log("browser") if line["level"] == "SEVERE"] == []


@pytest.mark.parametrize("page", ["scan_file", "folder_file", "evaluation_file", "follow_up_file"])
def test_nothing_is_wider_than_a_telephone(browser, page, request):
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    try:
        opened(browser, request.getfixturevalue(page))
        assert settled(browser, "document.documentElement.scrollWidth") <= 390
        assert browser.find_element("css selector", ".over").size["height"] < 30  # one line
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_rows_are_sorted_and_filtered(folder):
    first = "#body tr:nth-child(2) "
    heads = folder.find_elements("css selector", "#heads button")
    assert [head.text for head in heads] == ["Scan", "lungs ml", "severity", "Notes and problems"]
    heads[1].click()
    assert folder.find_element("css selector", f"{first} td:nth-child(3)").text == "976"
    heads[1].click()
    assert folder.find_element("css selector", f"{first} td:nth-child(3)").text == "0.0"
    folder.find_element("id", "text").send_keys("onerror")
    assert folder.find_element("css selector", f"{first} th").text == NAME
    assert folder.find_element("id", "count").text == "1 of 10000 scans"
    folder.find_element("css selector", f"{first} .remark button").click()
    assert folder.find_element("id", "whole").text == f"{NAME}: <img src=x onerror=alert(1)>"


def test_numbers_are_rounded_as_in_python(folder):
    values = [0.05, 0.25, 0.125, 2.5, 96.5, 1234567.5, -0.5]
    rounded = folder.execute_script(
        f"return {values}.map((one) => [0, 1, 2].map((digits) => rounded(one, digits)))"
    )
    assert rounded == [
        [f"{one:,.{digits}f}".replace(",", "\u202f") for digits in range(3)] for one in values
    ]
    likely = [0.0, 0.009, 0.125, 0.965, 0.999]
    words = folder.execute_script(f"return {likely}.map(inPercent)")
    assert words == [in_percent(one) for one in likely]


def test_a_table_is_used_by_keyboard_alone(folder):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    def press(*keys):
        ActionChains(folder).send_keys(*keys).perform()
        focus = folder.switch_to.active_element
        return focus, focus.value_of_css_property("outline-style") != "none"

    assert press(Keys.TAB, "9999", Keys.TAB, Keys.TAB) == (folder.find_element("id", "state"), True)
    assert folder.find_element("id", "count").text == "1 of 10000 scans"
    assert press(Keys.TAB) == (folder.find_element("id", "window"), True)
    sort, seen = press(Keys.TAB, Keys.TAB, Keys.ENTER)
    assert (sort.text.split(), seen) == (["lungs", "ml"], True)
    assert folder.find_element("css selector", "#heads [aria-sort]").text.startswith("lungs ml")
    link, seen = press(Keys.TAB, Keys.TAB, Keys.TAB)
    assert (link.tag_name, link.text, seen) == ("a", "scan 9999", True)


def test_a_row_that_scrolls_away_leaves_the_keys_to_the_table(folder):
    folder.execute_script("document.querySelector('#body a').focus()")
    folder.execute_script("document.getElementById('window').scrollTop = 44 * 5000")
    settled(folder, "1")
    assert folder.switch_to.active_element.get_attribute("id") == "window"


def test_a_table_without_notes_has_no_column_for_them(browser, tmp_path):
    path = tmp_path / "index.html"
    path.write_text(report.folder_page([Entry({"scan": "a", "qc": "pass"})] * 2), "utf-8")
    page = opened(browser, path)
    assert [one.text for one in page.find_elements("css selector", "#heads button")] == [
        "Scan", "checks",
    ]  # fmt: skip
    assert [one.text for one in page.find_elements("css selector", "#filters label")] == ["Text"]


def test_the_reason_of_a_failure_has_the_place_of_the_values(browser, tmp_path):
    path = tmp_path / "index.html"
    bad = Entry({"scan": "bad"}, problem="expected a scan")
    path.write_text(report.folder_page([Entry({"scan": "a", "lungs_ml": 9.0}), bad]), "utf-8")
    page = opened(browser, path)
    spans = page.execute_script(
        "return Array.from(document.querySelectorAll('.remark'), (one) => one.colSpan)"
    )
    assert spans == [1, 2]


def test_dots_and_the_table_of_an_evaluation_lead_to_each_other(browser, evaluation_file):
    from selenium.webdriver import ActionChains

    page = opened(browser, evaluation_file)
    assert page.find_element("css selector", "h1").text == NAME
    names = [one.text for one in page.find_elements("css selector", "#body th")]
    assert names == ["one", "two", NAME]
    page.find_element("id", "text").send_keys("two")
    faint = {one.get_attribute("data-case") for one in page.find_elements("css selector", ".dim")}
    assert faint == {"0", "2"}
    dot = page.find_element("css selector", "circle[data-case='2']")
    ActionChains(page).move_to_element(dot).click().perform()
    assert page.find_element("id", "text").get_attribute("value") == NAME
    assert page.find_element("id", "count").text == "1 of 3 cases"
    hot = {one.get_attribute("data-case") for one in page.find_elements("css selector", ".hot")}
    assert hot == {"2"}
    page.find_elements("css selector", "#heads button")[1].click()
    assert page.find_element("css selector", "#heads th[aria-sort]").text.startswith("Dice")
    assert [line for line in page.get_log("browser") if line["level"] == "SEVERE"] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", ["scan_file", "folder_file", "evaluation_file", "follow_up_file"])
def test_accessibility_has_no_serious_issue(browser, page, scheme, request):
    if importlib.util.find_spec("axe_core_python") is None:
        pytest.skip("no axe-core-python to look for issues with")
    emulated = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", emulated)
    opened(browser, request.getfixturevalue(page))
    axe = Path(importlib.util.find_spec("axe_core_python").origin).with_name("axe.min.js")
    browser.execute_script(axe.read_text("utf-8"))
    found = browser.execute_async_script("axe.run(document).then(arguments[0])")["violations"]
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in serious] == []
