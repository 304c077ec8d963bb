"""From a chip to strides that fit its arena to a report: its figures are the shell's, and it prints on one sheet."""

import re

import pytest
from playwright.sync_api import expect

from app.words.numbers import format_bytes
from redistill.cli.commands import main
from redistill.deploy.report import network_report, setting_report
from redistill.memory.chips import room_on
from redistill.memory.comparison import network_tape
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig

pytestmark = pytest.mark.browser


def test_from_a_chip_to_strides_to_a_report(open_page, tmp_path, capsys):
    page = open_page("?teacher=narrow_resnet&size=96&count=executorch&chip=rp2350#fit")  # of no trained weights
    summary, front = page.locator("#summary"), page.locator("#front")
    room = room_on("rp2350").activations
    expect(summary).to_contain_text(f"RP2350 (Pico 2), {format_bytes(room)} for activations")
    expect(front).to_contain_text("the arena that ExecuTorch plans, and the input")
    row = front.locator("tr.best")
    strides = row.locator("td").first.inner_text().replace("·", ",")
    row.click()
    page.wait_for_url(f"**&strides={strides}&**")
    expect(summary).to_contain_text("the student fits")
    with page.expect_download() as saving:
        page.locator("#explore-report button").click()
    expect(page.locator("#explore-report-said")).to_contain_text("print it")
    file = tmp_path / saving.value.suggested_filename
    saving.value.save_as(file)
    layers = network_tape("narrow_resnet").strides
    chosen = ",".join(f"{layer}={stride}" for layer, stride in zip(layers, strides.split(","), strict=True))
    asked = ["narrow_resnet", "--strides", chosen, "--image-size", "96", "--accounting", "executorch"]
    assert main(["memory", *asked, "--chip", "rp2350"]) == 0
    said = capsys.readouterr().out
    report = page.context.new_page()
    report.goto(f"file://{file}")
    row = report.locator("tr", has_text="ExecuTorch, planned, input apart, fp32")
    told = re.findall(r"^(?:teacher|student): ([0-9,]+) bytes .* at ", said, re.MULTILINE)
    assert row.locator("td").all_inner_texts()[1:3] == told
    fits = next(line for line in said.splitlines() if line.startswith("student on RP2350 (Pico 2)"))
    expect(report.locator("body")).to_contain_text(fits)
    report.close()


def test_it_prints_on_one_sheet(context, tmp_path):
    fits = ["the student on some chip: it fits"] * 3
    texts = {
        "student": network_report("emoji-clutter-student", fits),
        "unet": network_report("emoji-faces-student", fits),
        "long": setting_report(StudentConfig("densenet121", 64, red=REDConfig()), 4, fits),
        "wide": setting_report(StudentConfig("mobilenet_v2", 64, red=REDConfig()), 1, fits),
    }
    for name, text in texts.items():
        file = tmp_path / f"{name}.html"
        file.write_text(text, encoding="utf-8")
        report = context.new_page()
        report.goto(f"file://{file}")
        printed = report.pdf(prefer_css_page_size=True)
        report.close()
        assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 1, name
