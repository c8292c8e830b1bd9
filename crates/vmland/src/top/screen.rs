// SPDX-License-Identifier: GPL-2.0-only
//! Drawing the screen.
//!
//! From top to bottom: two lines on the host, the table, the history of the selected VM, the keys.
//! Of the columns there are as many as fit.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::widgets::{Sparkline, Widget};

use super::app::{App, History, Line, Mode};
use super::columns::{COLUMNS, Column, cell};
use super::host;
use crate::observe::rates::VmRates;

/// READY% from which a VM is marked, and marked strongly. VMware's rule of thumb for esxtop is that
/// 5 % are felt and 10 % are a problem.
const READY_FELT: f64 = 5.0;
const READY_BAD: f64 = 10.0;

/// Fewest and most characters of the column of names.
const NAME_MIN: usize = 16;
const NAME_MAX: usize = 40;

const VCPUS: &str = "vCPUs";

/// A screen with fewer lines has no history.
const HEIGHT_WITH_HISTORY: u16 = 10;

pub fn draw(frame: &mut Frame<'_>, app: &App, has_colour: bool) {
    let screen = Screen {
        buffer: frame.buffer_mut(),
        has_colour,
    };
    if app.mode == Mode::Help {
        screen.help(app);
    } else {
        screen.all(app);
    }
}

/// As many columns as fit beside the names, and how wide the names may be.
fn columns(width: usize) -> (&'static [Column], usize) {
    let mut left = width.saturating_sub(NAME_MIN + 1 + VCPUS.len());
    let mut nr = 0;
    while let Some(column) = COLUMNS.get(nr).filter(|column| column.width < left) {
        left -= column.width + 1;
        nr += 1;
    }
    (&COLUMNS[..nr], (NAME_MIN + left).min(NAME_MAX))
}

struct Screen<'a> {
    buffer: &'a mut Buffer,
    has_colour: bool,
}

impl Screen<'_> {
    fn all(mut self, app: &App) {
        let Rect { width, height, .. } = self.buffer.area;
        let plain = Style::new();
        for (y, parts) in (0..).zip(host::lines(&app.rates.host)) {
            self.put(0, y, &host::joined(&parts, width.into()), plain);
        }
        let (columns, name) = columns(width.into());
        self.header(app, columns, name);
        let with_history = height >= HEIGHT_WITH_HISTORY;
        let below = if with_history { 3 } else { 1 };
        self.table(app, columns, name, height.saturating_sub(3 + below));
        if let Some((vm, history)) = app.history().filter(|_| with_history) {
            self.history(vm, history, height - 3);
        }
        self.footer(app, height.saturating_sub(1));
    }

    fn header(&mut self, app: &App, columns: &[Column], name: usize) {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let style = |is_sorted: bool| match is_sorted {
            true => bold.add_modifier(Modifier::REVERSED),
            false => bold,
        };
        self.put(0, 2, "VM", style(app.order.sort.is_none()));
        self.put(name + 1, 2, VCPUS, bold);
        let mut x = name + 1 + VCPUS.len();
        for (at, column) in columns.iter().enumerate() {
            x += 1 + column.width;
            let title = column.title;
            self.put(x - title.len(), 2, title, style(app.order.sort == Some(at)));
        }
    }

    fn table(&mut self, app: &App, columns: &[Column], name: usize, height: u16) {
        let lines = app.lines();
        let is_selected = |line: &Line<'_>| Some(line.key()) == app.selected;
        let selected = lines.iter().position(is_selected).unwrap_or_default();
        let above = (selected + 1).saturating_sub(height.into());
        for (y, line) in (3..3 + height).zip(&lines[above..]) {
            let style = match is_selected(line) {
                true => Style::new().add_modifier(Modifier::REVERSED),
                false => Style::new(),
            };
            self.line(app, line, columns, name, y, style);
        }
        if lines.is_empty() {
            let why = match app.order.filter.is_empty() {
                true => "No VM that this user may see.",
                false => "No VM has such a name.",
            };
            self.put(0, 4, why, Style::new());
        }
    }

    fn line(
        &mut self,
        app: &App,
        line: &Line<'_>,
        columns: &[Column],
        name: usize,
        y: u16,
        style: Style,
    ) {
        let Line { vm, vcpu } = *line;
        let mark = if app.is_open(vm) { "-" } else { "+" };
        let (title, second) = match vcpu {
            Some(vcpu) => (
                format!("    vCPU {}, thread {}", vcpu.id, vcpu.tid),
                String::new(),
            ),
            None => (
                format!("{mark} {}", vm.identity.name),
                vm.vcpus.len().to_string(),
            ),
        };
        let end = name + 1 + VCPUS.len();
        let widths = columns.iter().map(|it| 1 + it.width).sum::<usize>();
        self.put(0, y, &" ".repeat(end + widths), style);
        self.put_at_most(0, y, &title, name, style);
        self.put(end - second.len(), y, &second, style);
        let mut x = end;
        for column in columns {
            x += 1 + column.width;
            let value = match (vcpu, column.of_vcpu) {
                (Some(_), None) => continue,
                (Some(vcpu), Some(of_vcpu)) => of_vcpu(vcpu),
                (None, _) => (column.of_vm)(vm),
            };
            let text = cell(column, value);
            let style = style.patch(self.style_of(column, value));
            self.put(x - text.chars().count(), y, &text, style);
        }
    }

    /// Bold, too, where there are no colours.
    fn style_of(&self, column: &Column, value: Option<f64>) -> Style {
        let colour = match value {
            Some(percent) if column.id == "ready_percent" && percent >= READY_BAD => Color::Red,
            Some(percent) if column.id == "ready_percent" && percent >= READY_FELT => Color::Yellow,
            _ => return Style::new(),
        };
        let bold = Style::new().add_modifier(Modifier::BOLD);
        if self.has_colour {
            bold.fg(colour)
        } else {
            bold
        }
    }

    /// Two lines: what the selected VM had of CPUs, and how long it waited.
    fn history(&mut self, vm: &VmRates, history: &History, y: u16) {
        let vcpus = vm.vcpus.len().max(1) as f64;
        for (y, what, all, full) in [
            (y, "CPU%", &history.cpu, 100.0 * vcpus),
            (y + 1, "READY%", &history.ready, 100.0),
        ] {
            let title = format!("{what} of {}", vm.identity.name);
            self.put_at_most(0, y, &title, NAME_MIN + 6, Style::new());
            let max = format!("{full:.0}");
            let left = NAME_MIN + 7;
            let width = usize::from(self.buffer.area.width).saturating_sub(left + max.len() + 1);
            self.put(left + width + 1, y, &max, Style::new());
            let Ok(area) = u16::try_from(width).map(|width| Rect::new(left as u16, y, width, 1))
            else {
                return;
            };
            let shown = all.iter().skip(all.len().saturating_sub(width));
            // A bar has eight steps: of what is not nothing the first is shown.
            let step = full / 8.0;
            let bar = |percent: &f64| (percent / step).ceil().min(8.0) as u64;
            let bars: Vec<_> = shown.map(bar).collect();
            Sparkline::default()
                .data(&bars)
                .max(8)
                .render(area, self.buffer);
        }
    }

    fn footer(&mut self, app: &App, y: u16) {
        let dim = Style::new().add_modifier(Modifier::DIM);
        if app.mode == Mode::Filter {
            self.put(
                0,
                y,
                &format!("Show VMs whose name contains: {}_", app.order.filter),
                Style::new(),
            );
            return;
        }
        let filter = match app.order.filter.as_str() {
            "" => String::new(),
            filter => format!("only *{filter}* (Esc: all)  "),
        };
        let keys = "q quit  Enter vCPUs  < > sort  r reverse  / filter  ? help";
        self.put(0, y, &format!("{filter}{keys}"), dim);
    }

    fn help(mut self, app: &App) {
        let lines = help();
        let height = usize::from(self.buffer.area.height);
        let above = app.help_offset.min(lines.len().saturating_sub(height));
        for (y, line) in (0..).zip(lines.iter().skip(above).take(height)) {
            self.put(0, y, line, Style::new());
        }
    }

    fn put(&mut self, x: usize, y: u16, text: &str, style: Style) {
        self.put_at_most(x, y, text, usize::MAX, style);
    }

    /// Cut at `width`, and at the end of the line.
    fn put_at_most(&mut self, x: usize, y: u16, text: &str, width: usize, style: Style) {
        let area = self.buffer.area;
        let Some(x) = u16::try_from(x)
            .ok()
            .filter(|x| *x < area.width && y < area.height)
        else {
            return;
        };
        self.buffer.set_stringn(x, y, text, width, style);
    }
}

/// A screen of 80 x 24 holds it.
fn help() -> Vec<String> {
    let column = |it: &Column| format!("{:<8}{:<61}{:>11}", it.title, it.about, it.source.as_str());
    let keys = [
        "Up Down PgUp PgDn Home End  choose a line      Enter  show or hide its vCPUs",
        "< >  sort by another column    r  in reverse    /  only VMs of a name",
        "q  quit    any key  leave this page",
        "",
    ];
    keys.into_iter()
        .map(str::to_owned)
        .chain(COLUMNS.iter().map(column))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::app::tests::{app, press};
    use super::*;
    use crate::observe::rates::tests::of_two_vms;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyCode;

    fn buffer(app: &App, width: u16, height: u16, has_colour: bool) -> Buffer {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a screen");
        terminal
            .draw(|frame| draw(frame, app, has_colour))
            .expect("drawn");
        terminal.backend().buffer().clone()
    }

    fn drawn(app: &App, width: u16, height: u16) -> Vec<String> {
        let buffer = buffer(app, width, height, true);
        let line = |y| {
            (0..width)
                .map(|x| buffer[(x, y)].symbol())
                .collect::<String>()
        };
        (0..height).map(|y| line(y).trim_end().to_owned()).collect()
    }

    #[test]
    fn on_80_by_24() {
        let mut app = app();
        press(&mut app, &[KeyCode::Enter]);
        app.update(of_two_vms());
        let lines = drawn(&app, 80, 24);
        let expected = [
            "vmland · 2 CPUs · 2 VMs, 4 vCPUs, 2.0 for each CPU",
            "4.0 vCPUs runnable · PSI cpu 25 % · scheduler 1.0 % of a CPU",
            "VM                    vCPUs   CPU%   DUE% READY%  WAITms   P99ms PAUSE/s YIELD/s",
            "- web-1                   2  120.0  135.0   30.0    5.00       –       0       0",
            "    vCPU 0, thread 11         80.0          30.0    3.75",
            "    vCPU 1, thread 12         40.0          30.0    7.50",
            "+ db-1                    2   60.0   45.0   80.0   26.67   20.93     100       0",
            "",
        ];
        assert_eq!(lines[..8], expected);
        let expected = [
            "CPU% of web-1          ▅▅                                                    200",
            "READY% of web-1        ▃▃                                                    100",
            "q quit  Enter vCPUs  < > sort  r reverse  / filter  ? help",
        ];
        assert_eq!(lines[21..], expected);
    }

    #[test]
    fn columns_by_width() {
        let app = app();
        let header = |width| drawn(&app, width, 24)[2].clone();
        assert!(header(200).ends_with("PROC% BOOST%  POLL%   RUN/s  EXIT/s"));
        assert!(header(100).ends_with("YIELD/s HONRD/s RECVR/s   IPI/s"));
        assert!(header(36).ends_with("vCPUs   CPU%   DUE%"));
        for (width, height) in [(1, 1), (10, 3), (21, 5), (23, 9), (500, 10)] {
            assert_eq!(drawn(&app, width, height).len(), usize::from(height));
        }
    }

    #[test]
    fn ready_is_marked_with_and_without_colours() {
        let app = app();
        // Those of web-1 and db-1.
        let cells = |has_colour| {
            let buffer = buffer(&app, 80, 24, has_colour);
            [3, 4].map(|y| buffer[(46, y)].clone())
        };
        for cell in cells(true) {
            assert_eq!(cell.fg, Color::Red);
        }
        for cell in cells(false) {
            assert_eq!(cell.fg, Color::Reset);
            assert!(cell.modifier.contains(Modifier::BOLD));
        }
        let no_colour = buffer(&app, 80, 24, false);
        let is_plain =
            |cell: &ratatui::buffer::Cell| cell.fg == Color::Reset && cell.bg == Color::Reset;
        assert!(no_colour.content.iter().all(is_plain));
    }

    #[test]
    fn the_selected_line_is_in_sight() {
        let mut rates = of_two_vms();
        let one = rates.vms[0].clone();
        rates.vms = (0..50)
            .map(|pid| {
                let mut vm = one.clone();
                vm.key.pid = pid;
                vm.identity.name = format!("vm-{pid:02}");
                vm
            })
            .collect();
        let mut app = app();
        app.update(rates);
        press(&mut app, &[KeyCode::End]);
        let lines = drawn(&app, 80, 24);
        assert!(lines[20].starts_with("+ vm-49") && lines[3].starts_with("+ vm-32"));
        press(&mut app, &[KeyCode::Home]);
        assert!(drawn(&app, 80, 24)[3].starts_with("+ vm-00"));
    }

    #[test]
    fn the_help_has_all_columns_on_80_by_24() {
        let mut app = app();
        press(&mut app, &[KeyCode::Char('?')]);
        let lines = drawn(&app, 80, 24);
        println!("{}", lines.join("\n"));
        for column in &COLUMNS {
            let is_told = |line: &String| {
                line.starts_with(column.title) && line.ends_with(column.source.as_str())
            };
            assert!(lines.iter().any(is_told), "{}", column.title);
            assert!(column.about.len() <= 61, "{}", column.about);
        }
        press(&mut app, &[KeyCode::Down]);
        assert_eq!(drawn(&app, 80, 5)[0], lines[1]);
        press(&mut app, &[KeyCode::Char('q')]);
        assert_eq!(app.mode, Mode::Table);
    }

    #[test]
    fn nothing_to_show_is_said_so() {
        let mut app = app();
        press(&mut app, &[KeyCode::Char('/'), KeyCode::Char('x')]);
        let lines = drawn(&app, 80, 24);
        assert_eq!(lines[4], "No VM has such a name.");
        assert_eq!(lines[23], "Show VMs whose name contains: x_");
        press(&mut app, &[KeyCode::Enter]);
        assert!(drawn(&app, 80, 24)[23].starts_with("only *x* (Esc: all)  q quit"));
        let mut rates = of_two_vms();
        rates.vms.clear();
        app.update(rates);
        press(&mut app, &[KeyCode::Esc]);
        assert_eq!(drawn(&app, 80, 24)[4], "No VM that this user may see.");
    }
}
