// SPDX-License-Identifier: GPL-2.0-only
//! A comparison as one page that loads nothing.
//!
//! The markup is well-formed XML too, so that a strict parser can check it. The
//! page forbids itself scripts and requests, whatever a record may say.

use maud::{DOCTYPE, Markup, PreEscaped, html as markup};

use super::plot::{self, Plot};
use super::rows::{self, ResultRow};
use super::words::{self, count, span};
use super::{safe, summary};
use crate::comparison::Verdict;
use crate::record::Record;

/// The empty icon keeps browsers from asking a server for one.
const HEAD: &str = r#"<meta charset="utf-8"/>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta name="color-scheme" content="light dark"/>
<link rel="icon" href="data:,"/>"#;

/// The report as a complete document, in UTF-8.
pub fn html(record: &Record) -> String {
    let record = &safe::safe(record);
    let title = summary::title(record);
    let page = markup! {
        (DOCTYPE)
        html lang="en" {
            head {
                (PreEscaped(HEAD))
                title { (title) }
                style { (PreEscaped(include_str!("page.css"))) }
            }
            body {
                main {
                    header {
                        h1 { (title) }
                        @for sentence in summary::sentences(record) { p { (sentence) } }
                    }
                    (results(record))
                    (spreads(record))
                    (time_line(record))
                    (vms(record))
                    (events(record))
                    (about(record))
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

fn results(record: &Record) -> Markup {
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
            @for metric in record.compared() {
                tbody {
                    tr.group {
                        th colspan="5" scope="rowgroup" {
                            (words::with_unit(metric))
                            small { (words::better(metric.better)) }
                        }
                    }
                    @for (arm, row) in rows::results(record, metric).iter().enumerate() {
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

fn result(arm: usize, row: &ResultRow) -> Markup {
    let (class, mark) = match row.verdict {
        Some(Verdict::Better) => ("better", "✓"),
        Some(Verdict::Worse) => ("worse", "✗"),
        Some(Verdict::Different) => ("different", "≠"),
        Some(Verdict::NoDifferenceShown) | None => ("none", ""),
    };
    markup! {
        tr {
            th scope="row" { (arm_name(arm, row.arm)) }
            td.number data-label="median" { (row.median) small { (row.quartiles) } }
            @if row.verdict.is_some() {
                td.number data-label="ratio" { (row.ratio) small { (row.interval) } }
                td.number data-label="p" { (row.p) }
            } @else {
                td {}
                td {}
            }
            td class={ "verdict " (class) } {
                @if !mark.is_empty() { span.mark aria-hidden="true" { (mark) } }
                (row.words)
            }
        }
    }
}

/// A drawing that scales, with a title and a description for who cannot see it.
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

fn spreads(record: &Record) -> Markup {
    let content = markup! {
        p.legend {
            "A dot is a window, a line the median, a box the middle half of the windows. Hollow dots are "
            "discarded windows, as far as they lie within the axis. The axis begins at 0 only where values "
            "come near it; dots are moved sideways so that they do not hide each other."
        }
        div.plots {
            @for (i, metric) in record.compared().enumerate() {
                @let rows = rows::results(record, metric);
                figure {
                    figcaption {
                        strong { (words::with_unit(metric)) }
                        small { (words::better(metric.better)) }
                        p { (metric.about) }
                    }
                    @if let Some(plot) = plot::spread(record, metric, &rows) {
                        (svg(
                            &format!("spread-{i}"),
                            &format!("{} in each window", words::with_unit(metric)),
                            &medians(&rows),
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

/// A strip plot in words.
fn medians(rows: &[ResultRow]) -> String {
    let medians: Vec<String> = rows
        .iter()
        .map(|row| match row.summary {
            None => format!("{}: not measured", row.arm),
            Some(s) => format!(
                "{}: median {}, quartiles {} and {}, {}",
                row.arm,
                row.median,
                words::number(s.q1),
                words::number(s.q3),
                count(s.windows, "window"),
            ),
        })
        .collect();
    format!("{}.", medians.join("; "))
}

fn time_line(record: &Record) -> Markup {
    let discarded = record.windows.iter().filter(|w| w.discarded.is_some());
    let discarded = discarded.count();
    let (failed, worked): (Vec<_>, Vec<_>) =
        record.switches.iter().partition(|s| s.failed.is_some());
    let mut description = format!(
        "{} that count, {discarded} discarded; {} that failed, {} that worked",
        count(record.windows.len() - discarded, "window"),
        count(failed.len(), "switch"),
        worked.len(),
    );
    if let Some(slowest_s) = worked.iter().map(|s| s.took_s).reduce(f64::max) {
        description += &format!(", the slowest in {}", span(slowest_s));
    }
    description.push('.');
    let plot = plot::time_line(record);
    let drawing = svg(
        "time",
        "Which scheduler was in force when",
        &description,
        &plot,
    );
    let content = markup! {
        p.legend {
            "Boxes are windows, hollow if discarded. A thin line is a scheduler in force while it settles, "
            "a short block the time that a switch took, a cross a switch that failed. Times are minutes and "
            "seconds since the start."
        }
        figure { (wide("Time line", &drawing)) figcaption { p { (description) } } }
    };
    section("time", "Time line", &content)
}

fn vms(record: &Record) -> Markup {
    let Some(vms) = rows::vms(record) else {
        return markup! {};
    };
    let arm = |name: &str| record.arms.iter().position(|arm| arm.name == name);
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
                            th scope="row" { (arm_name(arm(row.arm).unwrap_or(0), row.arm)) }
                            @for median in &row.medians { td.number { (median) } }
                        }
                    }
                }
            }
        }
    };
    section("vms", "VMs", &wide("VMs", &table))
}

fn events(record: &Record) -> Markup {
    let events = rows::events(record);
    if events.is_empty() {
        return markup! {};
    }
    let content = markup! {
        ol.events {
            @for event in &events {
                li { span.at { (event.at) } span { (event.text) } }
            }
        }
    };
    section("notes", "Notes", &content)
}

fn about(record: &Record) -> Markup {
    let about = &record.about;
    let settings = &record.settings;
    let facts = [
        ("Machine", about.machine.clone()),
        ("CPUs", about.cpus.to_string()),
        ("Memory", words::bytes(about.memory_bytes)),
        ("Kernel", about.kernel.clone()),
        ("scx_vmland", about.version.clone()),
        ("Started", about.started.clone()),
        ("Rounds", settings.rounds.to_string()),
        ("Window", span(settings.window_s)),
        ("Settling", span(settings.settle_s)),
        ("Seed", settings.seed.to_string()),
    ];
    let content = markup! {
        dl {
            @for (name, value) in &facts {
                div { dt { (name) } dd { (value) } }
            }
        }
        h3 { "Command" }
        pre { code { (words::command(&about.command)) } }
        h3 { "Schedulers" }
        ul.schedulers {
            @for (i, arm) in record.arms.iter().enumerate() {
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
