"""The page in a real browser: nothing of the content runs, nothing is asked for, filters and traces work.

Needs Chromium: that of the system, or the one that `playwright install chromium` fetches.
"""

import os
import re
import shutil

import pytest
from made import RUN, gate, hostile, made, recorded

from pytest_bettertogether.report.building import build
from pytest_bettertogether.report.html import html

NEEDED = os.environ.get("BT_BROWSER") == "required"


def lacking(what):
    if NEEDED:
        pytest.fail(f"BT_BROWSER=required, and {what}", pytrace=False)
    pytest.skip(f"{what}: `tox -e browser` says how")


@pytest.fixture(scope="module")
def browser():
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        lacking("playwright is not installed")
    own = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    with sync_playwright() as playwright:
        try:
            found = playwright.chromium.launch(executable_path=own, args=["--no-sandbox"])
        except Error:
            lacking("there is no Chromium")
        yield found
        found.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    rich = [
        recorded(made(strategy="zero", text="plain")),
        recorded(made(n=120, text="two words"), "worse", gate=gate(120)),
    ]
    files = {"hostile": html(build(hostile(), RUN)), "rich": html(build(rich, RUN))}
    for name, text in files.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8", errors="backslashreplace")
    return folder


@pytest.fixture
def visit(browser, pages):
    """Opens a page and notes what it asks for, says and fails at."""
    noted = []

    def opened(name, scheme="light", **options):
        page = browser.new_context(color_scheme=scheme, **options).new_page()
        page.on("request", lambda request: noted.append(f"request {request.url}"))
        page.on("console", lambda message: noted.append(f"console {message.text}"))
        page.on("pageerror", lambda error: noted.append(f"error {error}"))
        page.on("dialog", lambda dialog: noted.append(f"dialog {dialog.message}"))
        page.goto((pages / f"{name}.html").as_uri())
        if options.get("java_script_enabled", True):
            page.wait_for_selector("#list tbody tr")
        return page

    yield opened
    assert [each for each in noted if not re.fullmatch(r"request file://\S+\.html", each)] == []


def rows(page):
    return page.locator("#list tbody tr").count()


def wait_for(page, beginning):
    page.locator("#status", has_text=re.compile(f"^{beginning}")).wait_for()


def status(page):
    return page.locator("#status").inner_text()


def test_hostile_content_is_inert_and_legible(visit):
    page = visit("hostile")
    # nothing of it is an element, and no handler or link of it is there
    assert page.locator("body img, body iframe, body object, a[href^='javascript']").count() == 0
    assert page.locator("[onerror], [onclick], [onload]").count() == 0
    for option in page.locator("#cell option").all():
        page.locator("#cell").select_option(option.get_attribute("value"))
        page.wait_for_selector("#list tbody tr")
        page.locator("#list tbody button").nth(3).click()  # an unparsable one
        page.locator("#trace summary").first.click()
    assert page.evaluate("window.broken") is None
    assert page.title() == "Better together"
    assert "<script>window.broken = 1" in page.locator("#trace pre").last.inner_text()
    assert page.locator("#trace .ctl", has_text="U+202E").count() > 0
    assert page.locator("#trace .ctl", has_text="U+001B").count() > 0
    assert "\u202e" not in page.locator("body").inner_text()
    for details in page.locator("details.cell").all():
        details.evaluate("each => { each.open = true; each.querySelectorAll('details').forEach(d => d.open = true) }")
    assert "<img src=x onerror" in page.locator("#cells").inner_text()
    assert page.evaluate("window.broken") is None


def test_a_script_that_got_in_would_not_run(browser, pages):
    attack = (
        "<script>window.broken = 1</script><img src=x onerror='window.broken = 2'><p style='color: red' id=in>x</p>"
    )
    whole = (pages / "rich.html").read_text(encoding="utf-8")
    (pages / "attacked.html").write_text(whole.replace("</main>", f"{attack}</main>"), encoding="utf-8")
    page, said, loaded = browser.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("requestfinished", lambda request: loaded.append(request.url))
    page.goto((pages / "attacked.html").as_uri())
    page.wait_for_selector("#list tbody tr")
    assert page.evaluate("window.broken") is None
    assert page.evaluate("getComputedStyle(document.getElementById('in')).color") != "rgb(255, 0, 0)"
    assert sum("Content Security Policy" in each for each in said) >= 4
    assert len(loaded) == 1


def test_filters_show_what_they_say(visit):
    page = visit("rich")
    page.locator("#cell").select_option(label="qa · tiny · p → w → p")
    wait_for(page, "120 of 120")
    assert rows(page) == 50
    page.locator("input[value=broken]").check()
    assert status(page).startswith("60 of 120")  # those that were a half and are 0 now, and the last two
    assert page.locator("#list td", has_text="broken").count() == 50
    page.locator("input[value=fixed]").check()
    assert status(page).startswith("59 of 120")
    assert page.locator("#list tbody tr").first.locator("td").nth(2).inner_text() == "100 %"
    page.locator("input[value=unparsable]").check()
    assert status(page).startswith("17 of 120")
    page.locator("input[value=all]").check()
    page.locator("#find").fill("answer 117")
    assert status(page).startswith("1 of 120")
    page.locator("#cell").select_option(label="qa · tiny · zero-shot")  # it has no baseline
    wait_for(page, "0 of 40")  # none of them has that text
    assert page.locator("input[value=broken]").is_disabled()


def test_the_trace_shows_every_call(visit):
    page = visit("rich")
    page.locator("#list tbody button").first.click()
    trace = page.locator("#trace")
    assert trace.locator(".call").count() == 2
    trace.locator("summary", has_text="Prompt: 2 turns").first.click()
    trace.locator("summary", has_text="context: 2 passages").first.click()
    said = trace.inner_text()
    for part in ("Example 0, seed 0: 100 %", "1. answer", "system", "question: plain", "second", "Parsed fields"):
        assert part in said
    page.locator("#list tbody button").nth(3).click()
    assert "Could not be parsed." in trace.inner_text()
    assert "cut off at the limit" in trace.inner_text()


def test_the_keyboard_is_enough(visit):
    page = visit("rich")
    page.locator("#cell").select_option(label="qa · tiny · p → w → p")
    wait_for(page, "120 of 120")
    page.locator("#cell").blur()
    for _ in range(3):
        page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    assert "Example 1, seed 0" in page.locator("#trace").inner_text()
    assert page.evaluate("document.activeElement.id") == "trace"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.textContent") == "1"
    page.keyboard.press("n")
    assert page.locator("#page").inner_text() == "page 2 of 3"
    page.keyboard.press("p")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "find"
    page.keyboard.type("np")  # letters, there
    assert page.locator("#page").inner_text() == "page 1 of 1"


def test_light_and_dark_follow_the_system_and_the_button(visit):
    paper = "getComputedStyle(document.body).backgroundColor"
    light, dark = visit("rich"), visit("rich", "dark")
    assert light.evaluate(paper) == "rgb(255, 255, 255)"
    assert dark.evaluate(paper) == "rgb(20, 23, 28)"
    ink = "getComputedStyle(document.querySelector('.plot svg text')).fill"
    assert light.evaluate(ink) != dark.evaluate(ink)  # plots are of the page's colours
    dark.locator("#theme").click()
    assert dark.evaluate(paper) == "rgb(255, 255, 255)"


def test_a_cell_of_the_overview_leads_to_its_details(visit):
    page = visit("rich")
    page.locator("table.grid a", has_text="✗").click()
    page.wait_for_selector("details.cell[open]")
    assert "worse than its baseline" in page.locator("details.cell[open]").inner_text()
    page.locator("details.cell[open] a.show").click()
    wait_for(page, "120 of 120")


def test_a_hash_that_is_none_of_ours_does_no_harm(visit, pages):
    page = visit("rich")
    for wrong in ("%", "%E0%A4%A", "cell-999", "%00"):
        page.goto(f"{(pages / 'rich.html').as_uri()}#{wrong}")
        page.reload()
        page.wait_for_selector("#list tbody tr")


def test_without_its_script_the_page_still_tells_who_won(visit):
    page = visit("rich", java_script_enabled=False)
    assert page.locator("table.grid td").count() == 2
    assert page.locator(".plot svg").count() >= 3
    assert "need JavaScript" in page.locator("noscript").inner_text()


def test_it_can_be_printed_and_read_on_a_phone(visit):
    page = visit("rich", "dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()
    assert page.pdf()[:5] == b"%PDF-"
    phone = visit("hostile", viewport={"width": 380, "height": 700})
    assert phone.evaluate("document.documentElement.scrollWidth") <= 380


def test_plots_say_what_they_show(visit):
    page = visit("rich")
    assert page.locator(".plot svg[role=graphics-document][aria-label]").count() == page.locator(".plot svg").count()
    assert page.locator(".plot title", has_text="p → w → p: 49.6 %").count() >= 1
