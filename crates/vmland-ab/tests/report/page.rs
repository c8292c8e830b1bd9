// SPDX-License-Identifier: GPL-2.0-only
//! The page, as a strict parser sees it.

use std::collections::BTreeSet;

use roxmltree::{Document, Node, ParsingOptions};

use crate::{render, sample};

fn page() -> String {
    render::html(&sample::large())
}

/// Fails on what is not well-formed.
fn parse(page: &str) -> Document<'_> {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(page, options).unwrap()
}

fn all<'a>(page: &'a Document, tag: &'a str) -> impl Iterator<Item = Node<'a, 'a>> {
    page.descendants().filter(move |n| n.has_tag_name(tag))
}

/// All text below a node, with plain spaces.
fn text(node: Node) -> String {
    let texts = node.descendants().filter(Node::is_text);
    let text: String = texts.filter_map(|n| n.text()).collect();
    text.replace('\u{a0}', " ")
}

#[test]
fn names_are_text_wherever_they_stand() {
    let page = page();
    let page = parse(&page);
    for tag in ["script", "b", "web"] {
        assert_eq!(all(&page, tag).count(), 0, "{tag}");
    }
    let within = |tag: &str, wanted: &str| all(&page, tag).any(|n| text(n).contains(wanted));
    assert!(within("th", "<script>alert(1)</script>"));
    assert!(within("th", "db & <web>"));
    assert!(within("h1", "\"R&D\" <b>'s</b>"));
    assert!(within("svg", "\"R&D\" <b>'s</b>"));
    assert!(within("desc", "\"R&D\" <b>'s</b>: median 12 400"));
    assert!(within("li", "it\u{fffd}[0m <script>alert(2)</script>"));
}

#[test]
fn the_command_can_be_pasted_into_a_shell() {
    let page = page();
    let page = parse(&page);
    let command = text(all(&page, "pre").next().unwrap());
    assert_eq!(shlex::split(&command), Some(sample::large().about.command));
}

#[test]
fn nothing_is_loaded_or_run() {
    let page = page();
    assert!(!page.contains("://"), "an address");
    assert!(!page.contains("url(") && !page.contains("@import"));
    let page = parse(&page);
    for node in page.descendants() {
        for attribute in node.attributes() {
            let (name, value) = (attribute.name(), attribute.value());
            assert!(!name.starts_with("on") && name != "src", "{name}");
            assert!(name != "href" || value == "data:,", "{value}");
        }
    }
    let policy = all(&page, "meta")
        .find(|n| n.attribute("http-equiv") == Some("Content-Security-Policy"))
        .and_then(|n| n.attribute("content"));
    assert!(policy.is_some_and(|policy| policy.starts_with("default-src 'none'")));
}

#[test]
fn it_can_be_read_without_seeing_it() {
    let page = page();
    let page = parse(&page);
    assert_eq!(page.root_element().attribute("lang"), Some("en"));
    let ids: Vec<&str> = page
        .descendants()
        .filter_map(|n| n.attribute("id"))
        .collect();
    let unique: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), unique.len(), "an id twice");

    let drawings: Vec<Node> = all(&page, "svg").collect();
    assert_eq!(drawings.len(), sample::large().metrics.len() + 1);
    for svg in drawings {
        assert_eq!(svg.attribute("role"), Some("img"));
        let labels = svg.attribute("aria-labelledby").unwrap();
        for (id, tag) in labels.split(' ').zip(["title", "desc"]) {
            let label = svg.children().find(|n| n.attribute("id") == Some(id));
            assert!(label.is_some_and(|n| n.has_tag_name(tag) && !text(n).is_empty()));
        }
    }
    for table in all(&page, "table") {
        assert!(table.children().any(|n| n.has_tag_name("caption")));
    }
    assert!(all(&page, "th").all(|n| n.attribute("scope").is_some()));
    for section in all(&page, "section") {
        assert!(unique.contains(section.attribute("aria-labelledby").unwrap()));
    }
}

#[test]
fn every_window_has_a_mark() {
    let record = sample::large();
    let page = page();
    let page = parse(&page);
    let hollow = |n: &Node| n.attribute("fill") == Some("none");
    for svg in all(&page, "svg").take(record.metrics.len()) {
        let dots = svg.descendants().filter(|n| n.has_tag_name("circle"));
        let (discarded, counted): (Vec<_>, Vec<_>) = dots.partition(hollow);
        assert_eq!(counted.len(), 33);
        assert!(discarded.len() <= 2);
    }
    let time_line = all(&page, "svg").last().unwrap();
    let boxes = |tall: &str| {
        time_line
            .descendants()
            .filter(|n| n.has_tag_name("rect") && n.attribute("height") == Some(tall))
            .partition::<Vec<_>, _>(hollow)
    };
    let (discarded, counted) = boxes("24");
    assert_eq!((counted.len(), discarded.len()), (33, 2), "windows");
    let (_, switches) = boxes("14");
    assert_eq!(switches.len(), 35, "switches that worked");
    let crosses = time_line
        .descendants()
        .filter(|n| n.has_tag_name("polyline") && n.attribute("stroke-width") == Some("3"));
    assert_eq!(
        crosses.count(),
        2,
        "strokes of the cross of the one that failed"
    );
}

#[test]
fn the_verdicts_are_in_the_table() {
    let page = page();
    let page = parse(&page);
    let table = text(all(&page, "table").next().unwrap());
    for wanted in [
        "✓better",
        "✗worse",
        "≠different",
        "reference",
        "no difference shown; 8 % would have been",
        "no difference shown; a factor of 2.4 would have been",
        "[1.98..2.64]",
        "<0.001",
    ] {
        assert!(table.contains(wanted), "{wanted}: {table}");
    }
}

#[test]
fn the_ratio_is_explained_as_what_it_is() {
    let page = page();
    let page = parse(&page);
    let explained = text(all(&page, "details").next().unwrap());
    assert!(explained.contains("every window of the one is divided by every window of the other"));
    assert!(explained.contains("the median of these quotients"));
}
