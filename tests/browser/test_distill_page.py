"""Tab Distill in a real browser, and the whole way once: pictures, a teacher, its student, saved and tried."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import safetensors.torch
from helpers.browser import PATIENCE, Held, becomes, choose_stride, fill, unfold
from helpers.pictures import picture, write_classes
from playwright.sync_api import TimeoutError, expect

from redistill.networks.zoo import build_network

pytestmark = pytest.mark.browser


def test_pictures_a_teacher_its_student_saved_and_tried_on_a_photo(open_page, tmp_path):
    folder = write_classes(tmp_path / "source", {"cats": 12, "dogs": 12})
    page = open_page(width=1280, height=900)
    unfold(page, "tab", "Distill")
    expect(page.locator("#pictures img").first).to_be_visible()
    unfold(page, "button", "Use other pictures")
    with page.expect_file_chooser() as chooser:
        page.locator("#upload").click()
    chooser.value.set_files(shutil.make_archive(str(tmp_path / "My pets"), "zip", folder))
    expect(page.locator("#pictures")).to_contain_text("2 classes: cats")
    expect(page.locator("#pictures img")).to_have_count(8)
    expect(page.get_by_label("my-pets (uploaded)")).to_be_checked()
    fill(page, "Image size, px", 32)
    expect(page.locator("#student")).to_contain_text("32 px")
    expect(page.get_by_label("Train one on these pictures first")).to_be_checked()

    fill(page, "Steps of its training", 0)
    fill(page, "Steps", 6)
    fill(page, "Batch", 8)
    unfold(page, "button", "All other settings")
    page.get_by_label("Learn also from a bad teacher").check()  # it has hardly learnt
    fill(page, "Validate every", 3)
    progress, refusal = page.locator("#progress"), page.locator("#refusal")
    expect(progress).to_contain_text("No run yet")
    page.locator("#start").click()
    at_field = page.locator("#field-teacher_steps .field-refusal")
    expect(at_field).to_contain_text("expected a whole number of at least 1")
    expect(page.locator("#field-teacher_steps input")).to_have_css("outline-style", "solid")
    expect(page.locator("#start")).to_be_in_viewport()
    fill(page, "Steps of its training", 2)
    expect(at_field).to_have_count(0)
    expect(refusal).not_to_contain_text("Not started")
    page.locator("#start").click()
    expect(refusal).to_contain_text("first “my-pets (uploaded) · Narrow ResNet, own strides")
    expect(progress).to_contain_text("Narrow ResNet, own strides")
    page.locator("#runs").get_by_label("RED + KD · seed 0").check()
    expect(progress).to_contain_text("test accuracy: ", timeout=3 * PATIENCE)
    expect(progress).to_contain_text("of 2 pictures")
    expect(page.locator("#classes tbody tr")).to_have_count(2)
    scores = "document.querySelector('#scores .liveplot').data[0].x.map(Number)"
    becomes(page, scores, [3, 6])

    with page.expect_download() as saving:
        page.get_by_role("button", name="Save student").click()
    with zipfile.ZipFile(saving.value.path()) as archive:
        assert json.loads(archive.read("student/config.json"))["class_names"] == ["cats", "dogs"]
        assert "student/network.py" in archive.namelist()
    picture(7, 90, 60).save(tmp_path / "photo.jpg")
    page.locator("#try-picture input[type=file]").set_input_files(tmp_path / "photo.jpg")
    expect(page.locator("#answers section")).to_have_count(2)
    expect(page.locator("#answers li")).to_have_count(4)
    page.locator("#try-test").click()
    expect(page.locator("#answers")).to_contain_text("A test picture of:")

    with page.expect_download(timeout=4 * PATIENCE) as saving:
        page.get_by_role("button", name="Export .onnx in int8", exact=True).click()
        expect(page.locator("#student-said")).to_contain_text("Exporting")
    expect(page.locator("#exported")).to_contain_text("top-1 on all")
    file = tmp_path / saving.value.suggested_filename
    saving.value.save_as(file)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": np.zeros((1, 3, 32, 32), np.float32)})
    assert logits.shape == (1, 2) and np.isfinite(logits).all()
    with page.expect_download() as saving:  # which tells what the export was found to do
        page.get_by_role("button", name="Report of one page").click()
    report = Path(saving.value.path()).read_text(encoding="utf-8")
    assert "int8</td>" in report and hashlib.sha256(file.read_bytes()).hexdigest() in report

    page.reload()
    expect(page.get_by_role("tab", selected=True)).to_have_text("Distill")  # which has an address of its own
    expect(progress).to_contain_text("finished")
    expect(page.locator("#runs")).to_contain_text("RED + KD · seed 0 · finished")
    page.locator("#start").click()  # the form is as it was at first, and that has not run yet
    expect(progress).to_contain_text("emoji-clutter")
    page.locator("#stop").click()
    expect(progress).to_contain_text("stopped")
    page.locator("#start").click()
    expect(refusal).to_contain_text("These settings have run before")
    expect(page.get_by_role("button", name="Start it once more")).to_be_visible()


def test_weights_that_are_uploaded_become_a_teacher_that_a_run_starts_from(open_page, tmp_path):
    file = tmp_path / "mine.safetensors"
    safetensors.torch.save_file(build_network("narrow_resnet", 50).state_dict(), file)
    page = open_page(width=1280, height=900)
    unfold(page, "tab", "Distill")
    unfold(page, "button", "Your own weights as teacher")
    page.locator("input[data-testid='Upload .safetensors-upload-button']").set_input_files(file)
    expect(page.locator("#weights-said")).to_contain_text("is a teacher now")
    expect(page.get_by_label("mine-64px (own weights), not tested")).to_be_checked()
    fill(page, "Steps", 100_000)  # so that it does not end before it is stopped
    fill(page, "Batch", 8)
    unfold(page, "button", "All other settings")
    fill(page, "Training images (empty: all)", 48)
    page.locator("#start").click()
    expect(page.locator("#progress")).to_contain_text("images/s")
    page.locator("#stop").click()
    expect(page.locator("#progress")).to_contain_text("stopped · step")


def test_a_second_page_follows_a_run_and_stops_it(open_page):
    first, second = open_page(), open_page(width=390, height=844)
    for page in (first, second):
        unfold(page, "tab", "Distill")
    first.bring_to_front()
    first.get_by_label("Student without distillation", exact=True).check()
    expect(first.locator("#student")).to_contain_text("strides 4·1·2·2·1, 64 px")
    fill(first, "Batch", 8)
    unfold(first, "button", "All other settings")
    fill(first, "Training images (empty: all)", 48)
    first.locator("#start").click()
    expect(first.locator("#progress")).to_contain_text("images/s")
    second.bring_to_front()
    row = second.get_by_label("on its own · seed 0 · running")
    row.check()
    expect(second.locator("#progress")).to_contain_text("images/s")
    assert second.evaluate("document.documentElement.scrollWidth <= innerWidth")
    second.locator("#stop").click()
    for page in (first, second):
        expect(page.locator("#progress")).to_contain_text("stopped · step")
    first.bring_to_front()
    first.locator("#resume").click()
    for page in (first, second):
        expect(page.locator("#progress")).to_contain_text("images/s")
    first.locator("#stop").click()
    for page in (first, second):
        expect(page.locator("#progress")).to_contain_text("stopped · step")
    second.bring_to_front()
    second.locator("#delete").click()
    expect(second.locator("#delete-question")).to_contain_text("with its checkpoint, curves and log?")
    expect(first.locator("#runs")).to_contain_text("4·1·2·2·1 · on its own")
    second.locator("#delete-confirm").click()
    expect(second.locator("#delete-question")).to_be_hidden()
    expect(first.locator("#runs")).not_to_contain_text("4·1·2·2·1 · on its own")


def test_a_student_goes_to_explore_and_back_and_an_estimate_is_of_its_settings(open_page):
    page = open_page(width=1280, height=900)
    unfold(page, "tab", "Distill")
    refusal, card, change = page.locator("#refusal"), page.locator("#student"), page.get_by_text("Change it in Explore")
    page.get_by_label("MobileNetV2 from a ResNet", exact=True).check()
    expect(card).to_contain_text("MobileNetV2 ←")
    change.click()
    expect(refusal).to_contain_text("this one is a MobileNetV2 that learns from a Narrow ResNet")
    page.get_by_label("Student without distillation", exact=True).check()
    expect(refusal).not_to_contain_text("MobileNetV2")
    fill(page, "Steps", 77)
    change.click()
    expect(page.get_by_label("RED blocks at the aligned layers").first).not_to_be_checked()
    choose_stride(page, "conv1", 8)
    expect(page.locator("#summary")).to_contain_text("Peak falls from 320 KiB")
    page.locator("#to-distil").click()
    expect(card).to_contain_text("strides 8·1·2·2·1, 64 px")
    expect(page.get_by_label("Steps", exact=True)).to_have_value("77")
    expect(page.get_by_label("Student without distillation", exact=True)).to_be_checked()

    other = page.get_by_text("Of other settings than the form has now")
    page.locator("#estimate").click()
    expect(page.locator("#estimated")).to_contain_text("Measuring")
    expect(page.locator("#estimated")).to_be_in_viewport()
    unfold(page, "button", "All other settings")
    expect(other).to_have_count(0)
    fill(page, "Steps", 78)
    expect(other).to_be_visible()
    fill(page, "Steps", 77)
    expect(other).to_have_count(0)
    page.get_by_label("Quick look", exact=True).check()
    expect(other).to_be_visible()
    fill(page, "Batch", 512)  # which takes longer to measure
    cancel = page.locator("#estimate-cancel")
    for _ in range(9):  # a slow browser comes after it was measured, or sees that end before it clicks
        if not cancel.is_visible():
            page.locator("#estimate").click()
        with contextlib.suppress(TimeoutError):
            cancel.click(timeout=PATIENCE / 10)
            break
    else:
        pytest.fail("no estimate could be cancelled")
    expect(other).to_have_count(0)
    expect(page.locator("#estimate")).to_be_enabled()
    expect(cancel).not_to_be_visible()
    page.wait_for_timeout(1500)  # more than the measurement takes for its next second, which must not come
    expect(page.locator("#estimated")).not_to_contain_text("Measuring")


def test_presets_of_all_lists_share_one_mark(open_page):
    page = open_page()
    unfold(page, "tab", "Distill")
    page.get_by_text("Diffusion networks").click()
    page.get_by_label("Diffusion student of the smileys", exact=True).check()
    expect(page.locator(".preset-card", has_text="Quick look")).to_contain_text("64.0 KiB (5.0× less)")
    expect(page.locator("#student")).to_contain_text("strides 2·2·2·1, RED blocks, 32 px")
    expect(page.get_by_label("Quick look", exact=True)).not_to_be_checked()
    page.get_by_label("Quick look", exact=True).check()
    expect(page.locator("#student")).to_contain_text("strides 4·1·2·2·1, RED blocks, 64 px")
    expect(page.get_by_label("Diffusion student of the smileys", exact=True)).not_to_be_checked()


def test_late_answers_take_no_choice_back(open_page):
    page = open_page(width=390, height=844)
    unfold(page, "tab", "Distill")
    first = Held(page, "presets", "pick")
    page.get_by_label("Student without distillation", exact=True).check()
    first.wait()
    page.get_by_label("Teacher of emoji-clutter", exact=True).check()
    first.let_go()
    expect(page.locator("#student")).to_contain_text("own strides, 64 px")
    expect(page.get_by_label("Teacher of emoji-clutter", exact=True)).to_be_checked()

    progress, chosen = page.locator("#progress"), page.locator("#runs input:checked + span")
    page.locator("#start").click()
    expect(progress).to_contain_text("Narrow ResNet, own strides")
    expect(progress).to_be_in_viewport()
    page.locator("#stop").click()
    expect(progress).to_contain_text("stopped")

    page.get_by_label("Student without distillation", exact=True).check()
    expect(page.locator("#student")).to_contain_text("strides 4·1·2·2·1, 64 px")
    started, looked = Held(page, "start", "click"), Held(page, "runs", "input")
    page.locator("#start").click()
    expect(page.locator("#refusal")).to_contain_text("Starting…")
    started.wait()
    looked.wait()  # it has seen the new run while the old one was chosen
    started.let_go()
    expect(chosen).to_contain_text("strides 4·1·2·2·1 · on its own")
    looked.let_go()
    expect(progress).to_contain_text("strides 4·1·2·2·1 · on its own")
    expect(progress).to_be_in_viewport()
    page.locator("#stop").click()
    expect(progress).to_contain_text("stopped")
    expect(progress).to_contain_text("strides 4·1·2·2·1 · on its own")
    expect(chosen).to_contain_text("stopped")


def test_a_folder_becomes_pictures_to_learn_from_that_every_page_offers(open_page, tmp_path):
    page = open_page()
    unfold(page, "tab", "Distill")
    unfold(page, "button", "Use other pictures")
    write_classes(tmp_path / "Birds", {"owls": 5, "żurawie": 5})
    (tmp_path / "Birds" / "owls" / ".DS_Store").write_text("left by a system")
    page.locator("#folder input").set_input_files(tmp_path / "Birds")
    expect(page.get_by_label("birds (uploaded)")).to_be_checked()
    expect(page.locator("#pictures")).to_contain_text("2 classes: owls, żurawie")
    page.locator("#teach").click()
    expect(page.locator("#student")).to_contain_text("own strides")
    expect(page.get_by_label("birds (uploaded)")).to_be_checked()
    other = open_page()
    unfold(other, "tab", "Distill")
    expect(other.get_by_label("birds (uploaded)")).to_have_count(1)
    fill(page, "Or a data set of the Hugging Face Hub", "no id at all")
    page.locator("#fetch").click()
    expect(page.locator("#data-said")).to_contain_text("expected owner/name")
