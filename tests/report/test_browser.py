"""The page in a real browser: it opens without an error and asks for nothing, its tables sort and
filter, and a dot leads to its evidence.

They need chromium and its driver (Debian: apt-get install chromium chromium-driver), and are
skipped without them.
"""

import shutil

import pytest

from report.runs import find
from report.write import PAGE, write
from tests.report.planted_sweeps import sweep

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
DRIVER = shutil.which("chromedriver")
webdriver = pytest.importorskip(
    "selenium.webdriver", reason="selenium is not installed: pip install -e '.[dev]'"
)
pytestmark = [
    pytest.mark.skipif(
        not (BROWSER and DRIVER),
        reason=(
            "no browser here: install chromium and chromedriver (Debian: chromium chromium-driver)"
        ),
    ),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def driver():
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1280,900",
    ):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    folder = sweep(
        tmp_path_factory.mktemp("browser") / "sweep",
        {"none": 0.3, "good": 0.95, "split": (0.03, 0.97)},
    )
    write(find([folder]), folder)
    return (folder / PAGE).as_uri()


@pytest.fixture
def opened(driver, address):
    """The page, with its data unpacked."""
    driver.get("about:blank")
    driver.get(address)
    wait(driver, "return document.body.classList.contains('live')")
    return driver


def wait(driver, question: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, 20).until(lambda browser: browser.execute_script(question))


def column(driver, table: str, i: int) -> list[str]:
    """Returns the cells of a column in the lines of a table that are shown."""
    script = (
        "return [...document.querySelectorAll(arguments[0] + ' tbody tr')].filter(r =>"
        " !r.hidden).map(r => r.cells[arguments[1]].textContent)"
    )
    return driver.execute_script(script, table, i)


def write_into(driver, field: str, words: str) -> None:
    driver.execute_script(
        "const f = document.querySelector(arguments[0]); f.value = arguments[1];"
        " f.dispatchEvent(new Event('input'))",
        field,
        words,
    )


def test_it_opens_without_errors_and_asks_for_nothing(opened, address):
    import json

    assert [
        entry for entry in opened.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")
    ] == []
    sent = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    asked = {
        message["params"]["request"]["url"]
        for message in sent
        if message["method"] == "Network.requestWillBeSent"
    }
    assert {url for url in asked if not url.startswith("data:")} == {address}


def test_the_sentence_and_the_tables_are_there(opened):
    assert opened.find_element("css selector", ".headline").text.startswith(
        "good finds translators more often than no prior by"
    )
    assert column(opened, "#s0-matched", 0) == ["good", "split", "none"]
    assert len(column(opened, "#browser", 0)) == 50


def test_a_table_sorts_by_a_column_up_and_down(opened):
    head = opened.find_elements("css selector", "#s0-lines thead button")[2]
    assert head.text == "translators"
    opened.execute_script("arguments[0].click()", head)
    up = column(opened, "#s0-lines", 2)
    opened.execute_script("arguments[0].click()", head)
    down = column(opened, "#s0-lines", 2)
    assert [float(cell.split()[0]) for cell in up] == sorted(float(cell.split()[0]) for cell in up)
    assert [float(cell.split()[0]) for cell in down] == sorted(
        (float(cell.split()[0]) for cell in up), reverse=True
    )
    assert up[0].startswith("0.00") and down[0].startswith("1.00")


def test_words_filter_the_heads_and_their_number_is_said(opened):
    write_into(opened, "#browser .filter", "split imitator 1/4")
    assert set(column(opened, "#browser", 1)) == {"human imitator"} and set(
        column(opened, "#browser", 3)
    ) == {"1/4"}
    assert "24 of 240 heads" in opened.find_element("css selector", "#browser").text
    write_into(opened, "#browser .filter", "no such head")
    assert column(opened, "#browser", 0) == []


def test_words_filter_the_runs(opened):
    write_into(opened, "#s0-runs .filter", "good-3")
    assert column(opened, "#s0-runs", 0) == ["good-3"]


def click_dot(driver, prior: str) -> None:
    """Clicks the first dot of a prior's strip, where it is drawn."""
    from selenium.webdriver import ActionChains

    script = """
      const names = [...document.querySelectorAll('.strip .who')];
      const row = names.find(name => name.textContent === arguments[0]).closest('.strip');
      row.scrollIntoView({block: 'center'});
      const svg = row.querySelector('svg');
      const path = svg.querySelector('.dots').getAttribute('d');
      const [, x, y] = path.match(/M([\\d.]+) ([\\d.]+)h0/);
      const at = new DOMPoint(+x, +y).matrixTransform(svg.getScreenCTM());
      return [at.x, at.y];
    """
    x, y = driver.execute_script(script, prior)
    actions = ActionChains(driver)
    actions.w3c_actions.pointer_action.move_to_location(round(x), round(y)).click()
    actions.perform()


def test_a_dot_leads_to_its_heads_evidence_in_words(opened):
    click_dot(opened, "good")
    told = opened.find_element("css selector", "#evidence[open] #details").text
    assert (
        told.startswith("direct translator")
        and "good, strength 1" in told
        and "It follows X on 0.9" in told
    )
    assert "#head-" in opened.current_url


def test_an_address_leads_to_a_heads_evidence_and_on_to_its_config(opened, address):
    opened.get("about:blank")
    opened.get(f"{address}#head-0")
    wait(opened, "return document.querySelector('#evidence').open")
    opened.find_element("css selector", "#details .link").click()
    assert "worlds.vault.Vault" in opened.find_element("css selector", "#details pre").text


def test_a_run_leads_to_its_config_and_the_sheet_closes(opened):
    opened.execute_script("document.querySelector('#s0-runs tbody .link').click()")
    assert "reporters.linear" in opened.find_element("css selector", "#details pre").text
    opened.find_element("css selector", "#evidence form button").click()
    assert not opened.execute_script("return document.querySelector('#evidence').open")


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_is_wider_than_the_screen(opened, width):
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_without_a_script_the_answer_stands_there(driver, address):
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    driver.get(address)
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert "good finds translators" in driver.find_element("css selector", ".headline").text
    assert len(driver.find_elements("css selector", ".strip svg path.dots")) >= 3


def test_a_browser_that_cannot_unpack_says_so_plainly(driver, address):
    found = driver.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", {"source": "delete window.DecompressionStream"}
    )
    driver.get(address)
    wait(driver, "return document.querySelector('#browser .said') !== null")
    assert (
        "This browser cannot unpack the page's data"
        in driver.find_element("css selector", "#browser").text
    )
    driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", found)
