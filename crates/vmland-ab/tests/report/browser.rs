// SPDX-License-Identifier: GPL-2.0-only
//! The page in a browser: Debian's chromium, without a screen or a network.
//!
//! Pictures of it at two widths, dark and light, and on paper, are left in
//! `$CARGO_TARGET_TMPDIR/ab_page` for a person to look at.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::{render, sample};

/// Widths of a desktop and of a telephone, in CSS pixels.
const WIDTHS: [u32; 2] = [1280, 390];

/// A directory of a test's own, empty.
fn directory(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("ab_page")
        .join(test);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// Opens a file with a profile of its own.
fn chromium(file: &Path, options: &[&str]) -> Output {
    let profile = file.with_extension("profile");
    let output = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--enable-logging=stderr",
            "--v=0",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(options)
        .arg(format!("file://{}", file.display()))
        .output()
        .expect("chromium, which tests/setup installs");
    assert!(output.status.success(), "{output:?}");
    let _ = fs::remove_dir_all(&profile);
    output
}

/// What the browser has to complain about.
fn complaints(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stderr)
        .lines()
        .filter(|line| line.contains("CONSOLE"))
        .map(str::to_owned)
        .collect()
}

/// A browser's window cannot be as narrow as a telephone, so the page is put
/// into a frame. It forbids scripts, but those around it may measure it.
fn framed(page: &str, width: u32, height: u32) -> String {
    let page = page.replace('&', "&amp;").replace('"', "&quot;");
    format!(
        r#"<!DOCTYPE html><meta charset="utf-8"><title>not measured</title>
<body style="margin:0"><iframe style="border:0;display:block;width:{width}px;height:{height}px" srcdoc="{page}"></iframe>
<script>
addEventListener("load", () => {{
  const root = document.querySelector("iframe").contentDocument.documentElement;
  document.title = [root.clientWidth, root.scrollWidth, root.scrollHeight].join(" ");
}});
</script>"#
    )
}

/// Its width, and the width and height of what is in it, in CSS pixels.
fn measure(directory: &Path, page: &str, width: u32) -> [u32; 3] {
    let file = directory.join("measured.html");
    fs::write(&file, framed(page, width, 800)).unwrap();
    let output = chromium(&file, &["--dump-dom"]);
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let title = dom
        .split_once("<title>")
        .and_then(|(_, rest)| rest.split_once("</title>"))
        .map(|(title, _)| title.to_owned())
        .unwrap_or(dom);
    let numbers: Vec<u32> = title.split(' ').filter_map(|n| n.parse().ok()).collect();
    numbers.try_into().expect(&title)
}

#[test]
fn the_browser_has_no_complaint() {
    let directory = directory("complaints");
    let file = directory.join("page.html");
    fs::write(&file, render::html(&sample::large())).unwrap();
    assert_eq!(complaints(&chromium(&file, &["--dump-dom"])), [""; 0]);

    // What a complaint would look like.
    let file = directory.join("bad.html");
    fs::write(&file, "<script>console.error('found')</script>").unwrap();
    let found = complaints(&chromium(&file, &["--dump-dom"]));
    assert!(found.iter().any(|line| line.contains("found")), "{found:?}");
}

#[test]
fn nothing_is_wider_than_the_window() {
    let directory = directory("width");
    let page = render::html(&sample::large());
    for width in [1280, 768, 390, 320] {
        let [inner, content, _] = measure(&directory, &page, width);
        assert_eq!((inner, content), (width, width));
    }

    // What too wide a page would look like.
    let [inner, content, _] = measure(&directory, "<p style='width:500px'>wide</p>", 390);
    assert!(inner == 390 && content > 500);
}

/// A name with no place to break it must not widen the page either.
#[test]
fn long_names_are_no_wider_than_the_window() {
    let directory = directory("names");
    let mut record = sample::small();
    let long = "x".repeat(256);
    record.arms[1].name = long.clone();
    record.metrics[0].about = long.clone();
    record.notes[0].text = long.clone();
    record.about.machine = long.clone();
    record.about.command.push(long.clone());
    for window in &mut record.windows {
        window.vms = window
            .vms
            .values()
            .map(|vm| (long.clone(), vm.clone()))
            .collect();
    }
    let [inner, content, _] = measure(&directory, &render::html(&record), 390);
    assert_eq!((inner, content), (390, 390));
}

/// Draws as much of the page as a window of this size shows, in CSS pixels.
fn draw(page: &Path, width: u32, height: u32, picture: &Path, option: Option<&str>) -> Vec<u8> {
    let screenshot = format!("--screenshot={}", picture.display());
    let size = format!("--window-size={width},{height}");
    let mut options = vec![screenshot.as_str(), size.as_str()];
    options.extend(option);
    chromium(page, &options);
    let png = fs::read(picture).unwrap();
    assert!(png.starts_with(b"\x89PNG"));
    png
}

/// The picture in README.md: a part of the report on one of the comparisons of docs/figures.md.
#[test]
#[ignore = "writes docs/figures/report.png, in a few seconds"]
fn picture() {
    let figures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/figures");
    let json = fs::read_to_string(figures.join("rig-tlb.json")).unwrap();
    let page = render::html(&serde_json::from_str(&json).unwrap());
    let directory = directory("picture");
    let [_, _, height] = measure(&directory, &page, 1100);
    let scroll = r#"<script>
addEventListener("load", () => {
  const frame = document.querySelector("iframe");
  const section = frame.contentDocument.getElementById("spreads");
  frame.style.marginTop = `${20 - section.getBoundingClientRect().top}px`;
});
</script>"#;
    let file = directory.join("windows.html");
    fs::write(&file, framed(&page, 1100, height) + scroll).unwrap();
    let png = draw(&file, 1100, 570, &figures.join("report.png"), None);
    assert!(png.len() < 200_000, "{} bytes", png.len());
}

#[test]
fn it_can_be_drawn_and_printed() {
    let directory = directory("pictures");
    let page = render::html(&sample::large());
    for width in WIDTHS {
        let [_, _, height] = measure(&directory, &page, width);
        let file = directory.join(format!("{width}.html"));
        fs::write(&file, framed(&page, width, height)).unwrap();
        for (scheme, option) in [("light", None), ("dark", Some("--force-dark-mode"))] {
            let picture = directory.join(format!("{width}-{scheme}.png"));
            let png = draw(&file, width.max(500), height, &picture, option);
            assert!(png.len() > 50_000);
        }
    }
    let file = directory.join("page.html");
    fs::write(&file, &page).unwrap();
    let paper = directory.join("page.pdf");
    chromium(&file, &[&format!("--print-to-pdf={}", paper.display())]);
    let pdf = fs::read(&paper).unwrap();
    assert!(pdf.starts_with(b"%PDF-") && pdf.len() > 50_000);
}
