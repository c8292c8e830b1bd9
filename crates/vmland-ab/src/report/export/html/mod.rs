// SPDX-License-Identifier: GPL-2.0-only
//! A comparison as one page that loads nothing.
//!
//! The markup is well-formed XML too, so that a strict parser can check it. The
//! page forbids itself scripts and requests.

mod plot;

use maud::{DOCTYPE, Markup, PreEscaped, html as markup};

use self::plot::Plot;
use super::file_format::{FileFormat, Target};
use crate::comparison::Verdict;
use crate::report::format::{count, number};
use crate::report::model::{ArmRow, MetricTable, Model};
use crate::report::summary;

pub const HTML: FileFormat = FileFormat {
    option: "report",
    help: "Write a page with plots, DIR/index.html, which loads no other file",
    target: Target::Directory("index.html"),
    render: html,
};

/// The empty icon keeps browsers from asking a server for one.
const HEAD: &str = r#"<meta charset="utf-8"/>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta name="color-scheme" content="light dark"/>
<link rel="icon" href="data:,"/>"#;

/// A complete document, in UTF-8.
fn html(model: &Model) -> String {
    let page = markup! {
        (DOCTYPE)
        html lang="en" {
            head {
                (PreEscaped(HEAD))
                title { (model.title) }
                style { (PreEscaped(include_str!("page.css"))) }
            }
            body {
                main {
                    header {
                        h1 { (model.title) }
                        @for sentence in &model.sentences { p { (sentence) } }
                    }
                    (results(model))
                    (spreads(model))
                    (time_line(model))
                    (vms(model))
                    (events(model))
                    (about(model))
                }
            }
        }
    };
    page.into_string()
}

fn section(id: &str, heading: &str, content: &Markup) -> Markup {
    markup! {
        section aria-labelledby=(id) {
            h2 id=(id) { (heading) }
            (content)
        }
    }
}

/// What is too wide for a telephone is scrolled by itself, by keyboard too.
fn wide(label: &str, content: &Markup) -> Markup {
    markup! {
        div.wide role="region" tabindex="0" aria-label=(label) { (content) }
    }
}

fn arm_name(arm: usize, name: &str) -> Markup {
    markup! {
        span class={ "swatch arm-" (plot::colour_of(arm)) } aria-hidden="true" {}
        (name)
    }
}

fn results(model: &Model) -> Markup {
    let table = markup! {
        table.results {
            caption {
                "Medians of the windows that count, quartiles below; ratios to the reference, "
                "over all pairs of windows, 95 % intervals below; p is corrected for the number "
                "of comparisons."
            }
            thead {
                tr {
                    th scope="col" { "Scheduler" }
                    th.number scope="col" { "Median" }
                    th.number scope="col" { "Ratio" }
                    th.number scope="col" { "p" }
                    th scope="col" { "Verdict" }
                }
            }
            @for metric in &model.metrics {
                tbody {
                    tr.group {
                        th colspan="5" scope="rowgroup" {
                            (metric.heading)
                            small { (metric.better) }
                        }
                    }
                    @for (arm, row) in metric.rows.iter().enumerate() {
                        (result(arm, row))
                    }
                }
            }
        }
    };
    let content = markup! {
        (wide("Results", &table))
        details open="open" {
            summary { "How to read this" }
            p { (summary::HOW_TO_READ) }
        }
    };
    section("results", "Results", &content)
}

fn result(arm: usize, row: &ArmRow) -> Markup {
    let (class, mark) = match row.versus.as_ref().map(|versus| versus.verdict) {
        Some(Verdict::Better) => ("better", "✓"),
        Some(Verdict::Worse) => ("worse", "✗"),
        Some(Verdict::Different) => ("different", "≠"),
        Some(Verdict::NoDifferenceShown) | None => ("none", ""),
    };
    markup! {
        tr {
            th scope="row" { (arm_name(arm, &row.arm)) }
            td.number data-label="median" { (row.median) small { (row.quartiles) } }
            @if let Some(versus) = &row.versus {
                td.number data-label="ratio" { (versus.ratio) small { (versus.interval) } }
                td.number data-label="p" { (versus.p) }
            } @else {
                td {}
                td {}
            }
            td class={ "verdict " (class) } {
                @if !mark.is_empty() { span.mark aria-hidden="true" { (mark) } }
                (row.outcome)
            }
        }
    }
}

/// A drawing that scales, with a title and a description for readers who cannot see it.
fn svg(id: &str, title: &str, description: &str, plot: &Plot) -> Markup {
    markup! {
        svg.plot role="img" viewBox={ "0 0 " (plot.width) " " (plot.height) }
            aria-labelledby={ (id) "-title " (id) "-description" } {
            title id={ (id) "-title" } { (title) }
            desc id={ (id) "-description" } { (description) }
            (PreEscaped(&plot.body))
        }
    }
}

fn spreads(model: &Model) -> Markup {
    let content = markup! {
        p.legend {
            "A dot is a window, a line the median, a box the middle half of the windows. Hollow dots are "
            "discarded windows, as far as they lie within the axis. The axis begins at 0 only where values "
            "come near it; dots are moved sideways so that they do not hide each other."
        }
        div.plots {
            @for (i, metric) in model.metrics.iter().enumerate() {
                figure {
                    figcaption {
                        strong { (metric.heading) }
                        small { (metric.better) }
                        p { (metric.about) }
                    }
                    @if let Some(plot) = plot::spread(metric) {
                        (svg(
                            &format!("spread-{i}"),
                            &format!("{} in each window", metric.heading),
                            &medians(metric),
                            &plot,
                        ))
                    } @else {
                        p { "No window has a value." }
                    }
                }
            }
        }
    };
    section("spreads", "Every window", &content)
}

/// The description of a plot.
fn medians(metric: &MetricTable) -> String {
    let medians: Vec<String> = metric
        .rows
        .iter()
        .map(|row| match row.summary {
            None => format!("{}: not measured", row.arm),
            Some(s) => format!(
                "{}: median {}, quartiles {} and {}, {}",
                row.arm,
                row.median,
                number(s.q1),
                number(s.q3),
                count(s.windows, "window"),
            ),
        })
        .collect();
    format!("{}.", medians.join("; "))
}

fn time_line(model: &Model) -> Markup {
    let plot = plot::time_line(model);
    let drawing = svg(
        "time",
        "Which scheduler was active when",
        &model.time_line,
        &plot,
    );
    let content = markup! {
        p.legend {
            "Boxes are windows, hollow if discarded. A thin line is a scheduler while it settles, "
            "a short block the time that a switch took, a cross a switch that failed. Times are minutes and "
            "seconds since the start."
        }
        figure { (wide("Time line", &drawing)) figcaption { p { (model.time_line) } } }
    };
    section("time", "Time line", &content)
}

fn vms(model: &Model) -> Markup {
    let Some(vms) = &model.vms else {
        return markup! {};
    };
    let table = markup! {
        table {
            caption { "Medians of the windows that count, of each VM." }
            thead {
                tr {
                    th scope="col" { "Scheduler" }
                    @for column in &vms.columns { th.number scope="col" { (column) } }
                }
            }
            @for of_vm in vms.rows.chunk_by(|a, b| a.vm == b.vm) {
                tbody {
                    tr.group {
                        th colspan=(1 + vms.columns.len()) scope="rowgroup" { (of_vm[0].vm) }
                    }
                    @for row in of_vm {
                        tr {
                            th scope="row" { (arm_name(row.arm, &model.arms[row.arm].name)) }
                            @for median in &row.medians { td.number { (median) } }
                        }
                    }
                }
            }
        }
    };
    section("vms", "VMs", &wide("VMs", &table))
}

fn events(model: &Model) -> Markup {
    if model.events.is_empty() {
        return markup! {};
    }
    let content = markup! {
        ol.events {
            @for event in &model.events {
                li { span.at { (event.at) } span { (event.text) } }
            }
        }
    };
    section("notes", "Notes", &content)
}

fn about(model: &Model) -> Markup {
    let content = markup! {
        dl {
            @for (name, value) in &model.facts {
                div { dt { (name) } dd { (value) } }
            }
        }
        h3 { "Command" }
        pre { code { (model.command) } }
        h3 { "Schedulers" }
        ul.schedulers {
            @for (i, arm) in model.arms.iter().enumerate() {
                li {
                    (arm_name(i, &arm.name))
                    @match &arm.command {
                        Some(command) => code { (command) },
                        None => small { "the kernel’s own" },
                    }
                }
            }
        }
    };
    section("about", "About this run", &content)
}
